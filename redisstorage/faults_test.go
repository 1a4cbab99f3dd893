package redisstorage

// What a storage does when servers or points fail.

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestServerKilled checks that calls succeed again within a second of the start of a
// server that was killed.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	l := startLoad(t, open(t, node.url()), open(t, node.url()))
	l.waitUntilNormal(time.Now())
	node.signal(t, syscall.SIGKILL)
	l.waitUntilFailing(time.Second)
	pause(t, 3*time.Second)
	node.start(t)
	require.Less(t, l.waitUntilNormal(time.Now()), time.Second)
}

// TestServerSuspended checks that calls fail while a server hangs, and succeed again
// within a second after that.
func TestServerSuspended(t *testing.T) {
	t.Parallel()
	node := startServer(t, "valkey-server")
	l := startLoad(t, open(t, node.url()), open(t, node.url()))
	l.waitUntilNormal(time.Now())
	node.signal(t, suspend)
	pause(t, 4*time.Second)
	l.waitUntilFailing(time.Second)
	node.signal(t, resume)
	require.Less(t, l.waitUntilNormal(time.Now()), time.Second)
}

// TestMasterKilled checks that a replica takes over from a master that was killed.
// Registrations that the master acknowledged just before may be lost. They come back with
// the next refresh.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	s := open(t, c.url())
	const peers = 600
	l := startLoad(t, s, open(t, c.url()))
	l.waitUntilNormal(time.Now())

	for i := range peers {
		mustAdd(t, s, testRecord("ns", i, time.Minute))
	}
	c[0].signal(t, syscall.SIGKILL)
	killed := time.Now()
	l.waitUntilFailing(time.Second)

	require.Eventually(t, func() bool {
		got, err := s.Sample(t.Context(), "ns", peers, 0)
		return err == nil && len(got) > 0
	}, 4*time.Second, 10*time.Millisecond, "samples of the other masters' registrations succeed")

	took := l.waitUntilNormal(killed)
	lost := peers - len(mustSample(t, s, "ns"))
	t.Logf("calls succeeded %v after a master was killed; %d of %d registrations acknowledged just before were lost",
		took.Round(10*time.Millisecond), lost, peers)
	require.Less(t, took, 6*time.Second)

	for i := range peers {
		mustAdd(t, s, testRecord("ns", i, time.Minute))
	}
	require.Len(t, mustSample(t, s, "ns"), peers)
	require.Zero(t, s.health.numDown())
}

// TestMasterSuspended checks that a master that hangs delays calls for a short time only:
// samples soon leave it out, and its replica takes over.
func TestMasterSuspended(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	l := startLoad(t, open(t, c.url()))
	l.waitUntilNormal(time.Now())
	c[1].signal(t, suspend)
	suspended := time.Now()
	l.waitUntilFailing(callTimeout + time.Second)
	require.Less(t, l.waitUntilNormal(suspended), 6*time.Second)
	c[1].signal(t, resume)
	require.Eventually(t, func() bool { return c[1].info(t, "role") == "slave" }, 10*time.Second, 50*time.Millisecond)
	require.Less(t, l.waitUntilNormal(time.Now()), 2*time.Second)
}

// TestCloseWhileSuspended checks that Close waits for calls under way, but not forever.
func TestCloseWhileSuspended(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	node.signal(t, suspend)
	errs := make(chan error, 1)
	go func() { errs <- s.Add(context.Background(), testRecord("ns", 1, time.Minute), largeQuota) }()
	pause(t, 100*time.Millisecond) // Add has begun, and its answer does not come
	began := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(began), 10*time.Second)
	require.ErrorIs(t, <-errs, rendezvous.ErrUnreachable)
}

// TestPointKilled checks that other points see the registrations of a point that was
// killed, and purge them when they expire.
func TestPointKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	killed, other := open(t, node.url()), open(t, node.url())
	mustAdd(t, killed, testRecord("ns", 1, 2*time.Second), testRecord("ns", 2, time.Minute))
	killed.monitor.stop() // a point that does nothing any more is as good as killed
	require.Len(t, mustSample(t, other, "ns"), 2)
	require.Eventually(t, func() bool {
		counts, err := other.Counts(t.Context())
		return err == nil && counts == rendezvous.Counts{Registrations: 1, Namespaces: 1}
	}, 4*time.Second, 10*time.Millisecond)
}

// TestAllPointsKilled checks that all keys expire if no point is left to purge them.
func TestAllPointsKilled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	for i := range 3 {
		s := open(t, node.url())
		_, _, err := s.Page(t.Context(), "", rendezvous.KindPeerRecord, "", 0, 0)
		require.NoError(t, err)
		for j := range 500 {
			r := testRecord(fmt.Sprint("ns", j%7), 1000*i+j, time.Second)
			r.Origin = testOrigin
			switch j % 4 {
			case 1:
				r.Fresh = time.Now()
			case 2:
				r.Fresh = time.Now().Add(500 * time.Millisecond)
			case 3:
				r.Kind = rendezvous.KindRoutingState
			}
			mustAdd(t, s, r)
		}
		require.NoError(t, s.Close())
	}
	require.NotEqual(t, ":0", node.send("DBSIZE"))
	require.Eventually(t, func() bool { return node.send("DBSIZE") == ":0" }, 25*time.Second, 50*time.Millisecond)
}

// TestKeysLost checks that the registry repairs itself if the server loses single keys,
// as one does that evicts: registrations come back with the next refresh, none is returned
// twice, and nothing is left over in the end.
func TestKeysLost(t *testing.T) {
	t.Parallel()
	const peers = 100
	for _, lost := range []string{":i", ":a:", ":d:", ":p:", ":n", ":"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			node := startServer(t, "redis-server")
			s := open(t, node.url())
			for i := range peers {
				mustAdd(t, s, testRecord("ns", i, 4*time.Second), testRecord(fmt.Sprint("ns", i%10), i, 4*time.Second))
			}
			node.cli(t, "eval", `
				local keys = redis.call('KEYS', ARGV[1])
				for i, key in ipairs(keys) do
					if i % 3 > 0 or #keys == 1 then redis.call('DEL', key) end -- of several, a third stays
				end`, "0", "rendezvous:{*}"+lost+"*")
			for i := range peers {
				mustAdd(t, s, testRecord("ns", i, 6*time.Second), testRecord(fmt.Sprint("ns", i%10), i, 6*time.Second))
			}
			require.Len(t, mustSample(t, s, "ns"), peers)
			for i := range 10 {
				require.Len(t, mustSample(t, s, fmt.Sprint("ns", i)), peers/10)
			}
			// Samples find the entries that purges do not, and remove them.
			mustAdd(t, s, testRecord("ns", peers, time.Minute))
			require.Eventually(t, func() bool {
				return len(mustSample(t, s, "ns")) == 1 && node.cli(t, "hlen", s.shards[0].array("ns")) == "1"
			}, 12*time.Second, 100*time.Millisecond)
		})
	}
}

// TestLastingKeysLost checks the same with lasting registrations and the order of all.
func TestLastingKeysLost(t *testing.T) {
	t.Parallel()
	const peers = 100
	for _, lost := range []string{":l", ":u", ":f", ":r:", ":a:", ":d:", ":p:", ":n", ":s:", ":g", ":"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			node := startServer(t, "redis-server")
			s := open(t, node.url())
			_, cursor, err := s.Page(t.Context(), "ns", rendezvous.KindPeerRecord, "", 1, 0)
			require.NoError(t, err)
			add := func(ttl time.Duration) {
				t.Helper()
				for i := range peers {
					r := testRecord("ns", i, ttl)
					r.Fresh = time.Now().Add(time.Duration(i%3-1) * time.Minute)
					other := testRecord("other", i, ttl)
					other.Kind = rendezvous.KindRoutingState
					mustAdd(t, s, r, other)
				}
			}
			add(4 * time.Second)
			node.cli(t, "eval", `
				local keys = redis.call('KEYS', ARGV[1])
				for i, key in ipairs(keys) do
					if i % 3 > 0 or #keys == 1 then redis.call('DEL', key) end -- of several, a third stays
				end`, "0", "rendezvous:{*}"+lost+"*")
			add(6 * time.Second)
			got, _ := follow(t, s, "ns", rendezvous.KindPeerRecord, cursor, 70)
			slices.Sort(got)
			require.Equal(t, numbers(0, peers), got)
			got, _ = follow(t, s, "", rendezvous.KindRoutingState, cursor, 70)
			slices.Sort(got)
			require.Equal(t, numbers(0, peers), got)
			require.Len(t, mustSample(t, s, "ns"), peers/3)
			require.Eventually(t, func() bool {
				sampled := mustSample(t, s, "ns") // it finds entries that purges do not
				counts, err := s.Counts(t.Context())
				return err == nil && counts == rendezvous.Counts{} && len(sampled) == 0
			}, 12*time.Second, 100*time.Millisecond)
			got, _ = follow(t, s, "", rendezvous.KindPeerRecord, "", 10)
			require.Empty(t, got)
		})
	}
}

// TestPageAfterFailover checks that cursors skip nothing when a replica has taken over from a
// master that was killed, and when a point starts after that.
func TestPageAfterFailover(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	s := open(t, c.url())
	const peers = 300
	add := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			mustAdd(t, s, lastingRecord("ns", i, -time.Second))
		}
	}
	add(0, peers)
	got, cursor := follow(t, s, "ns", rendezvous.KindPeerRecord, "", 100)
	require.Len(t, got, peers)
	add(peers, 2*peers)
	c[0].signal(t, syscall.SIGKILL)
	// While a part cannot be reached, a page has the others. Later ones have what is missing.
	var records []rendezvous.Record
	require.Eventually(t, func() bool {
		var err error
		before := cursor
		records, cursor, err = s.Page(t.Context(), "ns", rendezvous.KindPeerRecord, before, 2*peers, 0)
		if err != nil {
			cursor = before
		}
		return err == nil
	}, 5*time.Second, 10*time.Millisecond)
	seen := make(map[int]bool)
	for _, r := range records {
		seen[peerNumber(t, r)] = true
	}
	require.Eventually(t, func() bool {
		for _, sh := range s.shards {
			if _, err := sh.purge(t.Context(), "", nil); err != nil {
				return false
			}
		}
		return s.health.numDown() == 0
	}, 10*time.Second, 50*time.Millisecond)
	add(2*peers, 3*peers)
	got, _ = follow(t, open(t, c.url()), "ns", rendezvous.KindPeerRecord, cursor, 100)
	for _, i := range got {
		seen[i] = true
	}
	missing := 0
	for i := peers; i < 3*peers; i++ {
		if !seen[i] {
			missing++
		}
	}
	all, _ := follow(t, s, "ns", rendezvous.KindPeerRecord, "", 100)
	lost := 3*peers - len(all)
	t.Logf("of %d registrations acknowledged just before a master was killed, %d were lost", peers, lost)
	require.LessOrEqual(t, missing, lost, "what was not lost is not skipped")
	for i := 2 * peers; i < 3*peers; i++ {
		require.True(t, seen[i])
	}
}

// TestPageAfterLoss checks that cursors begin anew at a server that has lost everything.
func TestPageAfterLoss(t *testing.T) {
	t.Parallel()
	node := startServer(t, "valkey-server")
	s := open(t, node.url())
	mustAdd(t, s, testRecord("ns", 1, time.Minute), testRecord("ns", 2, time.Minute))
	_, cursor := follow(t, s, "ns", rendezvous.KindPeerRecord, "", 1)
	node.signal(t, syscall.SIGKILL)
	node.start(t)
	add := func(i int) bool { return s.Add(t.Context(), testRecord("ns", i, time.Minute), largeQuota) == nil }
	require.Eventually(t, func() bool { return add(3) }, 5*time.Second, 10*time.Millisecond)
	got, cursor := follow(t, s, "ns", rendezvous.KindPeerRecord, cursor, 10)
	require.Equal(t, []int{3}, got)
	require.True(t, add(4))
	got, _ = follow(t, s, "ns", rendezvous.KindPeerRecord, cursor, 10)
	require.Equal(t, []int{4}, got)
}

// TestScriptsForgotten checks calls to a server that does not know the scripts, as after a
// restart or a failover.
func TestScriptsForgotten(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	for i := range 20 {
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		mustAdd(t, s, testRecord("ns", i, time.Minute))
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		require.Len(t, mustSample(t, s, "ns"), i+1)
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		require.Len(t, mustSample(t, s, ""), i+1)
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		got, _ := follow(t, s, "ns", rendezvous.KindPeerRecord, "", 10)
		require.Len(t, got, i+1)
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		require.NoError(t, s.Renew(t.Context(), []peer.ID{testPeer(i)}, time.Now().Add(time.Minute)))
		require.Equal(t, "+OK", node.send("SCRIPT FLUSH"))
		require.NoError(t, s.Remove(t.Context(), "other", testPeer(i)))
	}
}

// TestServerOutOfMemory checks that a server at its maxmemory refuses new registrations,
// and accepts them again when others have expired.
func TestServerOutOfMemory(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server", "--maxmemory", "6mb")
	s := open(t, node.url())
	largeEnvelope := make([]byte, 8<<10)
	fillUp := func() (added int, err error) {
		for ; added < 2000 && err == nil; added++ {
			r := testRecord("ns", added, 10*time.Second) // which is longer than adding all takes
			r.Envelope = largeEnvelope
			err = s.Add(t.Context(), r, rendezvous.Quota{})
		}
		return added, err
	}
	added, err := fillUp()
	require.ErrorIs(t, err, rendezvous.ErrFull)
	require.Greater(t, added, 100)
	require.Eventually(t, func() bool {
		counts, err := s.Counts(t.Context())
		return err == nil && counts.Registrations == 0
	}, 30*time.Second, 50*time.Millisecond)
	again, err := fillUp()
	require.ErrorIs(t, err, rendezvous.ErrFull)
	require.Greater(t, again, 100)
}

// TestClocksDiffer checks that only the server's clock counts when the clocks of the
// points are wrong.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	clocks := map[string]func() time.Time{
		"slow":  func() time.Time { return time.Now().Add(-time.Hour) },
		"right": time.Now,
		"fast":  func() time.Time { return time.Now().Add(time.Hour).Round(0) }, // without a monotonic clock
	}
	const ttl = 2 * time.Second
	points := make(map[string]*Storage)
	began := time.Now()
	for name, clock := range clocks {
		points[name] = open(t, node.url(), withClock(clock))
		r := testRecord("ns", len(points), 0)
		r.Deadline = clock().Add(ttl)
		mustAdd(t, points[name], r)
	}
	added := time.Now()
	for name, s := range points {
		got := mustSample(t, s, "ns")
		require.Len(t, got, len(clocks), name)
		for _, r := range got {
			left := r.Deadline.Sub(clocks[name]())
			require.Less(t, left, ttl-time.Since(added)+20*time.Millisecond, name)
			require.Greater(t, left, ttl-time.Since(began)-100*time.Millisecond, name)
		}
	}
	pause(t, time.Until(added.Add(ttl)))
	for name, s := range points {
		require.Empty(t, mustSample(t, s, "ns"), name)
	}
}
