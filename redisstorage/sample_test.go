package redisstorage

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sentBytes returns how many bytes a server sends while f runs.
func sentBytes(t *testing.T, node *server, f func()) int {
	t.Helper()
	read := func() int {
		n, err := strconv.Atoi(node.info(t, "total_net_output_bytes"))
		require.NoError(t, err)
		return n
	}
	idle := -read() // what reading it costs
	idle += read()
	before := read()
	f()
	return read() - before - idle
}

// fillExpired adds expired registrations to a namespace that has length registrations.
func fillExpired(t *testing.T, node *server, s *shard, ns string, length, expired int) {
	t.Helper()
	fillWith(t, node, s, ns, length, expired, time.Now().Add(-time.Millisecond), 1)
}

// fillWith adds n registrations to a namespace that has length registrations, without the
// scripts, so it is fast and the deadline may be past. The deadlines are spread over some
// milliseconds.
func fillWith(t testing.TB, node *server, s *shard, ns string, length, n int, deadline time.Time, spread int) {
	t.Helper()
	const batch = 5000
	for from := length; from < length+n; from += batch {
		node.cli(t, "eval", `
			local index, array, deadlines, prefix, ns = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
			for pos = ARGV[3], ARGV[3] + ARGV[4] - 1 do
				local peer = string.format('peer with number %022d', pos)
				local deadline = ARGV[5] + pos % ARGV[6]
				redis.call('HSET', array, pos, struct.pack('>I6I2I1', deadline, #peer, 0) .. peer .. 'envelope of a peer')
				redis.call('ZADD', deadlines, deadline, pos)
				redis.call('ZADD', index, deadline, struct.pack('>I2', #ns) .. ns .. peer)
				redis.call('HSET', prefix .. ':p:' .. peer, ns, pos)
				redis.call('ZINCRBY', index, -(#ns + #peer + 18), '')
			end`, "3", s.index(), s.array(ns), s.deadlines(ns),
			s.prefix, ns, strconv.Itoa(from), strconv.Itoa(min(batch, length+n-from)), number(deadline.UnixMilli()), strconv.Itoa(spread))
	}
}

// TestSampleAfterMassExpiry checks that a sample right after 100,000 registrations have
// expired is as large as ever, and costs little more than before.
func TestSampleAfterMassExpiry(t *testing.T) {
	t.Parallel()
	const expiring, live, n = 100_000, 200, 50
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	for i := range live {
		mustAdd(t, s, testRecord("ns", i, time.Hour), testRecord("live", i, time.Hour))
	}
	s.monitor.stop() // nothing is purged in the background from now on
	fillExpired(t, node, s.shards[0], "ns", live, expiring)
	sample := func(ns string) {
		got, err := s.Sample(t.Context(), ns, n, 0)
		require.NoError(t, err)
		require.Len(t, got, n)
	}
	sample("live")
	usual := sentBytes(t, node, func() { sample("live") })
	after := sentBytes(t, node, func() { sample("ns") })
	all := sentBytes(t, node, func() { sample("") })
	t.Logf("bytes of a sample: %d, after the expiry %d, of all namespaces %d", usual, after, all)
	require.Less(t, after, 5*usual)
	require.Less(t, all, 3*usual)
	require.NotEqual(t, ":"+strconv.Itoa(live), node.send("HLEN "+s.shards[0].array("ns")), "the expired ones were there")
}

// TestSampleBytes checks that a sample ends before it exceeds a number of bytes, and not long
// before.
func TestSampleBytes(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		const size, peers = 1000, 1000
		filling, s := open(t, url), open(t, url)
		for i := range peers {
			r := testRecord("ns", i, time.Minute)
			r.Envelope = make([]byte, size-len("ns"))
			mustAdd(t, filling, r)
		}
		for range 3 { // at first, nothing is known of the namespace
			for _, ns := range []string{"ns", ""} {
				for _, most := range []int{1, size - 1, size, 7*size + 1, 300 * size, 10 * peers * size} {
					got, err := s.Sample(t.Context(), ns, peers, most)
					require.NoError(t, err)
					require.Len(t, got, min(peers, most/size))
				}
			}
		}
	})
}

// TestSampleCancelled checks that a sample ends with its context, between two rounds, while
// it waits for an answer, and while it waits for other large ones.
func TestSampleCancelled(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	reads, cancelAt, cancel := 0, 0, func() {}
	filling := open(t, node.url())
	for i := range 1000 {
		mustAdd(t, filling, testRecord("ns", i, time.Minute))
	}
	s := open(t, node.url(), withClock(func() time.Time {
		if reads++; reads == cancelAt {
			cancel()
		}
		return time.Now()
	}))
	s.monitor.stop() // it reads the clock too
	var ctx context.Context

	ctx, cancel = context.WithCancel(t.Context())
	cancelAt = reads + 2 // when the first answer is there; it takes two more rounds
	_, err := s.Sample(ctx, "ns", 1000, 1<<20)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, cancelAt, reads, "nothing is asked after that")
	cancelAt = 0
	got, err := s.Sample(t.Context(), "ns", 1000, 1<<20)
	require.NoError(t, err)
	require.Len(t, got, 1000)

	for range maxLargeRounds {
		s.sampler.large <- struct{}{}
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Sample(ctx, "ns", 1000, 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Sample(t.Context(), "ns", 50, 0)
	require.NoError(t, err, "a small one does not wait")
	for range maxLargeRounds {
		<-s.sampler.large
	}

	node.signal(t, suspend)
	defer node.signal(t, resume)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = s.Sample(ctx, "ns", 1000, 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), callTimeout)
}
