package redisstorage

// Limits: what they count, and what they never refuse.

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// onServers runs a test on Redis, Valkey and a cluster.
func onServers(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			f(t, startServer(t, program).url())
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		f(t, startCluster(t, "redis-server").url())
	})
}

// TestExpiredNotCounted checks that no limit counts what has expired and was not purged yet.
func TestExpiredNotCounted(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			const perPeer, others = 40, 5000
			node := startServer(t, program)
			s := open(t, node.url())
			s.monitor.stop()
			q := rendezvous.Quota{PerPeer: perPeer, PerOrigin: perPeer, Total: perPeer}
			add := func(ns string, deadline time.Time, q rendezvous.Quota) error {
				r := testRecord(ns, 0, 0)
				r.Deadline, r.Origin = deadline, netip.MustParseAddr("192.0.2.1")
				r.Envelope = make([]byte, 100-len(r.Namespace)-len(r.Peer))
				return s.Add(t.Context(), r, q)
			}
			// What expires first is purged first. So these are in the way of the peer's own.
			fillExpired(t, node, s.shards[0], "ns", 0, others)
			deadline := time.Now().Add(5 * time.Second)
			for i := range perPeer {
				require.NoError(t, add(fmt.Sprint("ns", i), deadline, q))
			}
			refuse := func() {
				later := time.Now().Add(time.Minute)
				require.ErrorIs(t, add("over", later, q), rendezvous.ErrPeerLimit)
				require.ErrorIs(t, add("over", later, rendezvous.Quota{PerOrigin: perPeer}), rendezvous.ErrOriginLimit)
				require.ErrorIs(t, add("over", later, rendezvous.Quota{Total: perPeer}), rendezvous.ErrFull)
			}
			refuse()
			pause(t, time.Until(deadline)+5*time.Millisecond)
			for i := range perPeer {
				require.NoError(t, add(fmt.Sprint("new", i), time.Now().Add(time.Minute), q))
			}
			refuse()
			counts, err := s.Counts(t.Context())
			require.NoError(t, err)
			require.Greater(t, counts.Registrations, others/2, "most is not purged yet")
			// The bytes of what has expired are known when it is purged.
			q = rendezvous.Quota{Bytes: perPeer*100 + 100}
			require.NoError(t, add("new", time.Now().Add(time.Minute), q))
			require.ErrorIs(t, add("over", time.Now().Add(time.Minute), q), rendezvous.ErrFull)
		})
	}
}

// TestRefreshOutOfMemory checks that a server at its maxmemory refuses what is new and nothing
// that is live, and that it can still purge.
func TestRefreshOutOfMemory(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			node := startServer(t, program)
			s := open(t, node.url())
			record := func(i int, ttl time.Duration) rendezvous.Record {
				r := testRecord("ns", i, ttl)
				r.Origin = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
				return r
			}
			q := largeQuota
			q.PerOrigin = 10
			const live = 200
			for i := range live {
				require.NoError(t, s.Add(t.Context(), record(i, 20*time.Second), q))
			}
			require.NoError(t, s.Add(t.Context(), record(live, time.Second), q))
			require.Equal(t, "+OK", node.send("CONFIG SET maxmemory 1"))
			for range 3 {
				for i := range live {
					r := record(i, 20*time.Second)
					r.Envelope = slices.Concat(r.Envelope, make([]byte, 1000))
					require.NoError(t, s.Add(t.Context(), r, q))
				}
				require.ErrorIs(t, s.Add(t.Context(), record(5000, time.Minute), q), rendezvous.ErrFull)
			}
			require.Eventually(t, func() bool {
				counts, err := s.Counts(t.Context())
				return err == nil && counts.Registrations == live
			}, 4*time.Second, 20*time.Millisecond, "the expired one is purged")
			require.ErrorIs(t, s.Add(t.Context(), record(live, time.Minute), q), rendezvous.ErrFull)
			require.Len(t, mustSample(t, s, "ns"), live)
			require.Equal(t, "+OK", node.send("CONFIG SET maxmemory 0"))
			require.NoError(t, s.Add(t.Context(), record(5000, time.Minute), q))
		})
	}
}

// TestOrigins checks the limits per origin at two points that share a registry.
func TestOrigins(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		points := []*Storage{open(t, url), open(t, url)}
		q := rendezvous.Quota{PerOrigin: 3}
		peers := 0
		add := func(i int, addr string, ttl time.Duration) error {
			peers++
			r := testRecord("ns", i, ttl)
			if addr != "" {
				r.Origin = netip.MustParseAddr(addr)
			}
			return points[peers%2].Add(t.Context(), r, q)
		}
		fill := func(n int, ttl time.Duration, addr func(i int) string) {
			t.Helper()
			for i := range n {
				require.NoError(t, add(peers, addr(i), ttl), addr(i))
			}
		}
		always := func(addr string) func(int) string { return func(int) string { return addr } }

		fill(3, time.Minute, always("192.0.2.1"))
		require.ErrorIs(t, add(1000, "192.0.2.1", time.Minute), rendezvous.ErrOriginLimit)
		require.ErrorIs(t, add(1000, "::ffff:192.0.2.1", time.Minute), rendezvous.ErrOriginLimit)
		fill(10, time.Minute, always("")) // does not count

		// A refresh is not refused, and does not count again.
		for range 3 {
			for i := range 3 {
				require.NoError(t, add(i, "192.0.2.1", time.Minute))
			}
		}
		// A peer that moves is counted where it is now.
		require.NoError(t, add(0, "192.0.2.2", time.Minute))
		require.NoError(t, add(1001, "192.0.2.1", time.Minute))
		require.ErrorIs(t, add(1002, "192.0.2.1", time.Minute), rendezvous.ErrOriginLimit)
		require.NoError(t, add(0, "192.0.2.1", time.Minute), "a refresh is not refused, but stays counted where it was")
		require.NoError(t, add(0, "192.0.2.1", -time.Second), "what is removed does not count")
		require.ErrorIs(t, add(1002, "192.0.2.1", time.Minute), rendezvous.ErrOriginLimit)
		require.NoError(t, add(1, "192.0.2.1", -time.Second))
		require.NoError(t, add(1002, "192.0.2.1", time.Minute))

		// What has expired does not count.
		fill(3, time.Second, always("192.0.2.3"))
		ended := time.Now().Add(time.Second)
		require.ErrorIs(t, add(1003, "192.0.2.3", time.Minute), rendezvous.ErrOriginLimit)
		pause(t, time.Until(ended)+20*time.Millisecond)
		fill(3, time.Minute, always("192.0.2.3"))
		require.ErrorIs(t, add(1003, "192.0.2.3", time.Minute), rendezvous.ErrOriginLimit)

		// IPv6: a /64 has the limit, a /56 four times, a /48 sixteen times as many.
		fill(3, time.Minute, func(i int) string { return fmt.Sprint("2001:db8:0:100::", i) })
		require.ErrorIs(t, add(2000, "2001:db8:0:100::ffff", time.Minute), rendezvous.ErrOriginLimit)
		fill(9, time.Minute, func(i int) string { return fmt.Sprintf("2001:db8:0:1%02x::1", i+1) })
		require.ErrorIs(t, add(2000, "2001:db8:0:1ff::1", time.Minute), rendezvous.ErrOriginLimit)
		fill(36, time.Minute, func(i int) string { return fmt.Sprintf("2001:db8:0:%02x%02x::1", 2+i/12, i) })
		require.ErrorIs(t, add(2000, "2001:db8:0:ffff::1", time.Minute), rendezvous.ErrOriginLimit)
		require.NoError(t, add(2000, "2001:db8:1:ffff::1", time.Minute))

		// A registration may move within a /56 that is full, because it is counted there.
		full := peers
		fill(12, time.Minute, func(i int) string { return fmt.Sprintf("2001:db8:2:%x::1", i/3) })
		for i := range 3 {
			require.NoError(t, add(full+i, "2001:db8:2:8::1", time.Minute))
		}
		require.NoError(t, add(full+11, "2001:db8:2:3::1", -time.Second))
		require.ErrorIs(t, add(3000, "2001:db8:2:8::1", time.Minute), rendezvous.ErrOriginLimit, "three have moved here")
		require.NoError(t, add(3000, "2001:db8:2:0::1", time.Minute), "from here")
	})
}

// TestConcurrentOrigins checks that points which add at the same time do not exceed the
// limit of an origin, and that what is refused for another reason does not stay counted.
func TestConcurrentOrigins(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		points := []*Storage{open(t, url), open(t, url)}
		add := func(i int, q rendezvous.Quota) error {
			r := testRecord("ns", i, time.Minute)
			r.Origin = netip.MustParseAddr("2001:db8::1")
			return points[i%2].Add(t.Context(), r, q)
		}
		for i := range 20 {
			r := testRecord("full", 1000+i, time.Minute)
			require.NoError(t, points[0].Add(t.Context(), r, rendezvous.Quota{}))
			r.Namespace, r.Origin = "other", netip.MustParseAddr("2001:db8::1")
			require.ErrorIs(t, points[0].Add(t.Context(), r, rendezvous.Quota{PerPeer: 1, PerOrigin: 10}), rendezvous.ErrPeerLimit)
		}
		const tries = 60
		errs := make([]error, tries)
		var wg sync.WaitGroup
		for i := range tries {
			wg.Go(func() { errs[i] = add(i, rendezvous.Quota{PerOrigin: 10}) })
		}
		wg.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
			} else {
				require.ErrorIs(t, err, rendezvous.ErrOriginLimit)
			}
		}
		require.Equal(t, 10, added)
	})
}

// TestBytes checks the limit of bytes, and that refreshes are counted by their new size.
func TestBytes(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s := open(t, url)
		record := func(i, size int, ttl time.Duration) rendezvous.Record {
			r := testRecord("ns", i, ttl)
			r.Envelope = make([]byte, size-len(r.Namespace)-len(r.Peer))
			return r
		}
		q := rendezvous.Quota{Bytes: 10_000}
		for i := range 9 {
			require.NoError(t, s.Add(t.Context(), record(i, 1000, time.Minute), q))
		}
		require.ErrorIs(t, s.Add(t.Context(), record(100, 1001, time.Minute), q), rendezvous.ErrFull)
		require.NoError(t, s.Add(t.Context(), record(100, 1000, time.Minute), q))
		require.ErrorIs(t, s.Add(t.Context(), record(101, 100, time.Minute), q), rendezvous.ErrFull)
		for range 5 {
			require.NoError(t, s.Add(t.Context(), record(0, 5000, time.Minute), q), "there is no average")
		}
		for i := range 9 {
			require.NoError(t, s.Add(t.Context(), record(i, 100, 3*time.Second), q))
		}
		expired := time.Now().Add(3 * time.Second)
		require.NoError(t, s.Add(t.Context(), record(101, 8100, time.Minute), q))
		require.ErrorIs(t, s.Add(t.Context(), record(102, 100, time.Minute), q), rendezvous.ErrFull)
		pause(t, time.Until(expired)+20*time.Millisecond)
		require.NoError(t, s.Add(t.Context(), record(102, 900, time.Minute), q))
		require.ErrorIs(t, s.Add(t.Context(), record(103, 100, time.Minute), q), rendezvous.ErrFull)
	})
}

// TestOriginsLost checks that limits come back with the refreshes after a server has lost what it
// counts by origin.
func TestOriginsLost(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	add := func(i int) error {
		r := testRecord("ns", i, time.Minute)
		r.Origin = netip.MustParseAddr("2001:db8::1")
		return s.Add(t.Context(), r, rendezvous.Quota{PerOrigin: 5})
	}
	// sizes returns how many registrations each origin has, and removes that if told to.
	sizes := func(command string) []string {
		return strings.Fields(node.cli(t, "eval", `
			local sizes = {}
			for _, key in ipairs(redis.call('KEYS', '*:o:*')) do
				table.insert(sizes, redis.call('ZCARD', key))
				redis.call(ARGV[1], key)
			end
			return sizes
		`, "0", command))
	}
	for i := range 5 {
		require.NoError(t, add(i))
	}
	require.Equal(t, []string{"5", "5", "5"}, sizes("DEL"), "a /64, /56 and /48")
	require.Empty(t, sizes("DEL"))
	for i := range 5 {
		require.NoError(t, add(i))
	}
	require.Equal(t, []string{"5", "5", "5"}, sizes("EXISTS"))
	require.ErrorIs(t, add(5), rendezvous.ErrOriginLimit)
}

// TestLastingQuota checks that lasting registrations take at most half of the total and of the
// bytes, and that only what is live and lasting counts for that.
func TestLastingQuota(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		const total, size = 20, 500
		s := open(t, url)
		quotas := map[string]rendezvous.Quota{"total": {Total: total}, "bytes": {Bytes: total*size + size - 1}}
		for ns, q := range quotas {
			add := func(r rendezvous.Record) error {
				r.Envelope = make([]byte, size-len(r.Namespace)-len(r.Peer))
				return s.Add(t.Context(), r, q)
			}
			require.NoError(t, add(testRecord(ns, 0, time.Minute)))
			ended := time.Now().Add(4 * time.Second)
			for i := range total / 2 {
				r := lastingRecord(ns, 100+i, time.Duration(i-2)*time.Second)
				if i%2 == 0 {
					r.Kind = rendezvous.KindRoutingState
				}
				if i < 5 {
					r.Deadline = ended
				}
				require.NoError(t, add(r))
				require.NoError(t, add(r), "a lasting one may be replaced")
			}
			require.ErrorIs(t, add(lastingRecord(ns, 1, time.Second)), rendezvous.ErrFull)
			require.ErrorIs(t, add(lastingRecord(ns, 0, time.Second)), rendezvous.ErrFull, "it was none before")
			got := mustSample(t, s, ns)
			require.Contains(t, peersOf(got), testPeer(0), "what was refused has changed nothing")
			for i := 1; i < total/2; i++ {
				require.NoError(t, add(testRecord(ns, i, time.Minute)))
			}
			require.ErrorIs(t, add(testRecord(ns, total, time.Minute)), rendezvous.ErrFull)
			require.NoError(t, add(testRecord(ns, 109, time.Minute)), "it becomes one that does not last")
			require.NoError(t, add(lastingRecord(ns, 0, time.Second)))
			require.ErrorIs(t, add(lastingRecord(ns, 1, time.Second)), rendezvous.ErrFull)
			pause(t, time.Until(ended)+20*time.Millisecond)
			for i := range 5 {
				require.NoError(t, add(lastingRecord(ns, 1+i, -time.Second)))
			}
			require.ErrorIs(t, add(lastingRecord(ns, 6, time.Second)), rendezvous.ErrFull)
			for _, r := range mustSample(t, s, ns) {
				require.NoError(t, s.Remove(t.Context(), ns, r.Peer))
			}
			for i := range 120 {
				require.NoError(t, s.Remove(t.Context(), "", testPeer(i)))
			}
		}
	})
}

// TestGrowthQuota checks that a refresh which has grown beyond the average needs room for that, and
// that any other is accepted.
func TestGrowthQuota(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		const total, average = 20, 500
		s := open(t, url)
		for ns, record := range map[string]func(string, int, time.Duration) rendezvous.Record{"fresh": testRecord, "lasting": lastingRecord} {
			q := rendezvous.Quota{Total: total, Bytes: total * average}
			add := func(i, size int) error {
				r := record(ns, i, time.Minute)
				r.Envelope = make([]byte, size-len(r.Namespace)-len(r.Peer))
				return s.Add(t.Context(), r, q)
			}
			for i := range total / 2 {
				require.NoError(t, add(i, average/2))
			}
			refused := 0
			for i := range total / 2 {
				if err := add(i, 5*average); err != nil {
					require.ErrorIs(t, err, rendezvous.ErrFull)
					refused++
				}
			}
			require.Positive(t, refused)
			require.Less(t, refused, total/2)
			bytes := 0
			for _, r := range mustSample(t, s, ns) {
				bytes += len(r.Namespace) + len(r.Peer) + len(r.Envelope)
			}
			require.LessOrEqual(t, bytes, total*average)
			for i := range total / 2 {
				require.NoError(t, add(i, average))
			}
			for i := range total / 2 {
				require.NoError(t, s.Remove(t.Context(), ns, testPeer(i)))
			}
		}
	})
}

func peersOf(records []rendezvous.Record) (peers []peer.ID) {
	for _, r := range records {
		peers = append(peers, r.Peer)
	}
	return peers
}

// TestLastingOutOfMemory checks that a server at its maxmemory refuses nothing that a lasting
// registration needs: to be refreshed, to become stale, to be renewed and to be removed.
func TestLastingOutOfMemory(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			node := startServer(t, program)
			s := open(t, node.url())
			const live = 200
			var peers []peer.ID
			require.Empty(t, func() []int { got, _ := follow(t, s, "ns", usual, "", 10); return got }())
			for i := range live {
				mustAdd(t, s, lastingRecord("ns", i, time.Minute))
				peers = append(peers, testPeer(i))
			}
			require.Equal(t, "+OK", node.send("CONFIG SET maxmemory 1"))
			require.ErrorIs(t, s.Add(t.Context(), lastingRecord("ns", live, time.Minute), largeQuota), rendezvous.ErrFull)
			for i := range live {
				mustAdd(t, s, lastingRecord("ns", i, 500*time.Millisecond))
			}
			require.NotEmpty(t, mustSample(t, s, "ns"))
			require.Eventually(t, func() bool {
				return node.cli(t, "hlen", s.shards[0].rest("ns")) == strconv.Itoa(live)
			}, 4*time.Second, 20*time.Millisecond, "the visits put them aside")
			require.Empty(t, mustSample(t, s, "ns"))
			require.NoError(t, s.Renew(t.Context(), peers, time.Now().Add(time.Minute)))
			require.Len(t, mustSample(t, s, "ns"), live)
			got, _ := follow(t, s, "ns", usual, "", 70)
			require.Equal(t, numbers(0, live), got)
			require.NoError(t, s.Remove(t.Context(), "ns", testPeer(0)))
			require.Len(t, mustSample(t, s, "ns"), live-1)
		})
	}
}
