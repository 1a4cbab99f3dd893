package redisstorage

// What happens to a storage when its servers, or the points beside it, are lost.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// load is callers that add, and others that sample, all the time.
type load struct {
	t    *testing.T
	mu   sync.Mutex
	last map[error]time.Time // when a call last ended so: nil or ErrUnreachable; or the start
	slow time.Duration       // the longest that a call took
	done chan struct{}
	wg   sync.WaitGroup
}

func startLoad(t *testing.T, storages ...*Storage) *load {
	t.Helper()
	l := &load{t: t, last: map[error]time.Time{rendezvous.ErrUnreachable: time.Now()}, done: make(chan struct{})}
	for w := range 8 {
		s := storages[w%len(storages)]
		i := 0
		l.call(func(ctx context.Context) error {
			i++
			return s.Add(ctx, testRecord("load", 1000+w*100+i%100, 20*time.Second), quota)
		})
		l.call(func(ctx context.Context) error {
			_, err := s.Sample(ctx, "load", 10)
			return err
		})
	}
	t.Cleanup(l.stop)
	return l
}

// call calls f again and again.
func (l *load) call(f func(context.Context) error) {
	l.wg.Go(func() {
		for {
			select {
			case <-l.done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			began := time.Now()
			l.saw(began, f(context.Background()))
		}
	})
}

func (l *load) stop() {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	l.wg.Wait()
}

func (l *load) saw(began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = max(l.slow, time.Since(began))
	switch {
	case err == nil:
		l.last[nil] = time.Now()
	case errors.Is(err, rendezvous.ErrUnreachable):
		l.last[rendezvous.ErrUnreachable] = time.Now()
	default:
		l.t.Errorf("while a server is lost: %v", err)
	}
}

// normal waits until all calls succeed again, and have for a while, and returns how
// long after since that began.
func (l *load) normal(since time.Time) time.Duration {
	l.t.Helper()
	var failed time.Time // the last that did
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		failed = l.last[rendezvous.ErrUnreachable]
		return time.Since(failed) > 1500*time.Millisecond && l.last[nil].After(failed)
	}, 30*time.Second, 10*time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Less(l.t, l.slow, callTimeout+dialTimeout+time.Second, "no call hangs")
	return max(0, failed.Sub(since))
}

func (l *load) failing(within time.Duration) {
	l.t.Helper()
	began := time.Now()
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.last[rendezvous.ErrUnreachable].After(began)
	}, within, 10*time.Millisecond, "calls fail")
}

func testRecord(ns string, i int, ttl time.Duration) rendezvous.Record {
	return rendezvous.Record{
		Namespace: ns,
		Peer:      testPeer(i),
		Envelope:  fmt.Append(nil, "envelope of ", i),
		Deadline:  time.Now().Add(ttl),
	}
}

func add(t *testing.T, s *Storage, records ...rendezvous.Record) {
	t.Helper()
	for _, r := range records {
		require.NoError(t, s.Add(t.Context(), r, quota))
	}
}

func sample(t *testing.T, s *Storage, ns string) []rendezvous.Record {
	t.Helper()
	got, err := s.Sample(t.Context(), ns, 10_000)
	require.NoError(t, err)
	return got
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	l := startLoad(t, open(t, node.url()), open(t, node.url()))
	l.normal(time.Now())
	node.signal(t, syscall.SIGKILL)
	l.failing(time.Second)
	time.Sleep(3 * time.Second)
	node.start(t)
	require.Less(t, l.normal(time.Now()), time.Second)
}

func TestServerStopped(t *testing.T) {
	t.Parallel()
	node := startServer(t, "valkey-server")
	l := startLoad(t, open(t, node.url()), open(t, node.url()))
	l.normal(time.Now())
	node.signal(t, syscall.SIGSTOP)
	time.Sleep(4 * time.Second)
	l.failing(time.Second)
	node.signal(t, syscall.SIGCONT)
	require.Less(t, l.normal(time.Now()), time.Second)
}

// TestMasterKilled: a replica takes over. What the master had acknowledged a moment
// before may be lost, and comes back with the peers' next refresh.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	s := open(t, c.url())
	const peers = 600
	l := startLoad(t, s, open(t, c.url()))
	l.normal(time.Now())

	acknowledged := 0
	for i := range peers {
		add(t, s, testRecord("ns", i, time.Minute))
		acknowledged++
	}
	c[0].signal(t, syscall.SIGKILL)
	killed := time.Now()
	l.failing(time.Second)

	// Samples go on, with what the other masters have.
	require.Eventually(t, func() bool {
		got, err := s.Sample(t.Context(), "ns", peers)
		return err == nil && len(got) > 0
	}, 4*time.Second, 10*time.Millisecond)

	took := l.normal(killed)
	kept := len(sample(t, s, "ns"))
	t.Logf("normal %v after a master was killed; of %d registrations acknowledged just before, %d were lost",
		took.Round(10*time.Millisecond), acknowledged, acknowledged-kept)
	require.Less(t, took, 6*time.Second)

	for i := range peers {
		add(t, s, testRecord("ns", i, time.Minute))
	}
	require.Len(t, sample(t, s, "ns"), peers)
	require.Zero(t, s.down.Load())
}

// TestMasterStopped: a master that hangs delays nobody for long. Who asks for others
// is answered without it as soon as it is known, and its replica takes over.
func TestMasterStopped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	l := startLoad(t, open(t, c.url()))
	l.normal(time.Now())
	c[1].signal(t, syscall.SIGSTOP)
	stopped := time.Now()
	l.failing(callTimeout + time.Second)
	require.Less(t, l.normal(stopped), 6*time.Second)
	c[1].signal(t, syscall.SIGCONT) // it finds that it is a replica now
	time.Sleep(time.Second)
	require.Less(t, l.normal(time.Now()), 2*time.Second)
}

// TestCloseWhileStopped: Close waits for calls under way, and those not for ever.
func TestCloseWhileStopped(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	node.signal(t, syscall.SIGSTOP)
	errs := make(chan error, 1)
	go func() { errs <- s.Add(context.Background(), testRecord("ns", 1, time.Minute), quota) }()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(began), 10*time.Second)
	require.ErrorIs(t, <-errs, rendezvous.ErrUnreachable)
}

// TestPointKilled: what one point took is there for the others when it is gone, and
// goes in its time.
func TestPointKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	gone, stays := open(t, node.url()), open(t, node.url())
	add(t, gone, testRecord("ns", 1, 2*time.Second), testRecord("ns", 2, time.Minute))
	gone.stopKeepers() // as near to kill -9 as a process can do to a part of itself
	require.Len(t, sample(t, stays, "ns"), 2)
	require.Eventually(t, func() bool {
		counts, err := stays.Counts(t.Context())
		return err == nil && counts == rendezvous.Counts{Registrations: 1, Namespaces: 1}
	}, 4*time.Second, 10*time.Millisecond)
}

// TestAllPointsKilled: nothing is left of them with nobody there to take it out.
func TestAllPointsKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	for i := range 3 {
		s := open(t, node.url())
		for j := range 500 {
			add(t, s, testRecord(fmt.Sprint("ns", j%7), 1000*i+j, time.Second))
		}
		require.NoError(t, s.Close())
	}
	require.NotEqual(t, ":0", node.say("DBSIZE"))
	require.Eventually(t, func() bool { return node.say("DBSIZE") == ":0" }, 25*time.Second, 50*time.Millisecond)
}

// TestKeysLost: keys may vanish one by one, evicted by a server that should not do
// so. What was lost comes back with the next refresh, nothing comes twice, and
// nothing is left over in the end.
func TestKeysLost(t *testing.T) {
	t.Parallel()
	const peers = 100
	for _, lost := range []string{":i", ":a:", ":p:", ":n", ":"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			node := startServer(t, "redis-server")
			s := open(t, node.url())
			for i := range peers {
				add(t, s, testRecord("ns", i, 4*time.Second), testRecord(fmt.Sprint("ns", i%10), i, 4*time.Second))
			}
			node.cli(t, "eval", `
				local keys = redis.call('KEYS', ARGV[1])
				for i, key in ipairs(keys) do
					if i % 3 > 0 or #keys == 1 then redis.call('DEL', key) end -- some of many stay
				end`, "0", "rendezvous:{*}"+lost+"*")
			for i := range peers {
				add(t, s, testRecord("ns", i, 6*time.Second), testRecord(fmt.Sprint("ns", i%10), i, 6*time.Second))
			}
			require.Len(t, sample(t, s, "ns"), peers)
			for i := range 10 {
				require.Len(t, sample(t, s, fmt.Sprint("ns", i)), peers/10)
			}
			// Whatever is left over is met by who samples.
			stays := testRecord("ns", peers, time.Minute)
			add(t, s, stays)
			require.Eventually(t, func() bool {
				return len(sample(t, s, "ns")) == 1 && node.cli(t, "hlen", s.shards[0].array("ns")) == "1"
			}, 12*time.Second, 100*time.Millisecond)
		})
	}
}

// TestAgain: servers are asked again where a connection was lost, and not where one was
// left out because it does not answer.
func TestAgain(t *testing.T) {
	t.Parallel()
	s := new(Storage)
	require.False(t, s.again(t.Context(), "n", []answer{{err: errDown}, {}}))
	require.True(t, s.again(t.Context(), "n", []answer{{err: errDown}, {err: io.ErrUnexpectedEOF}}))
}

// TestScriptsForgotten: as by a server that was restarted or has taken over.
func TestScriptsForgotten(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	for i := range 20 {
		require.Equal(t, "+OK", node.say("SCRIPT FLUSH"))
		add(t, s, testRecord("ns", i, time.Minute))
		require.Equal(t, "+OK", node.say("SCRIPT FLUSH"))
		require.Len(t, sample(t, s, "ns"), i+1)
		require.Equal(t, "+OK", node.say("SCRIPT FLUSH"))
		require.Len(t, sample(t, s, ""), i+1)
	}
}

// TestServerFull: a server without memory refuses what is new, and takes it again
// when something has ended.
func TestServerFull(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server", "--maxmemory", "6mb")
	s := open(t, node.url())
	big := make([]byte, 8<<10)
	fill := func() (added int, err error) {
		for ; added < 2000 && err == nil; added++ {
			r := testRecord("ns", added, 3*time.Second)
			r.Envelope = big
			err = s.Add(t.Context(), r, rendezvous.Quota{})
		}
		return added, err
	}
	added, err := fill()
	require.ErrorIs(t, err, rendezvous.ErrFull)
	require.Greater(t, added, 100)
	require.Eventually(t, func() bool {
		counts, err := s.Counts(t.Context())
		return err == nil && counts.Registrations == 0
	}, 10*time.Second, 50*time.Millisecond)
	again, err := fill()
	require.ErrorIs(t, err, rendezvous.ErrFull)
	require.Greater(t, again, 100)
}

// TestClocksApart: only the server's clock counts.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	clocks := map[string]func() time.Time{
		"early": func() time.Time { return time.Now().Add(-time.Hour) },
		"right": time.Now,
		"late":  func() time.Time { return time.Now().Add(time.Hour).Round(0) }, // a clock on the wall only
	}
	const ttl = 2 * time.Second
	points := make(map[string]*Storage)
	began := time.Now()
	for name, clock := range clocks {
		points[name] = open(t, node.url(), withClock(clock))
		r := testRecord("ns", len(points), 0)
		r.Deadline = clock().Add(ttl)
		add(t, points[name], r)
	}
	added := time.Now()
	for name, s := range points {
		got := sample(t, s, "ns")
		require.Len(t, got, len(clocks), name)
		for _, r := range got {
			left := r.Deadline.Sub(clocks[name]())
			require.Less(t, left, ttl-time.Since(added)+20*time.Millisecond, name)
			require.Greater(t, left, ttl-time.Since(began)-100*time.Millisecond, name)
		}
	}
	time.Sleep(time.Until(added.Add(ttl)))
	for name, s := range points {
		require.Empty(t, sample(t, s, "ns"), name)
	}
}
