package redisstorage

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestCluster checks that keys are in the slots that their shard should have, whatever
// names peers choose, that masters have equal shares, and that any member can be used to
// open a registry.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	s := open(t, c[4].url()) // a replica
	require.Len(t, s.shards, len(tags))
	for i, sh := range s.shards {
		for _, key := range []string{sh.index(), sh.names(), sh.array("{x}}{"), sh.deadlines("{"), sh.lasting(), sh.unusual(), sh.registrations("}{a}")} {
			slot, err := strconv.Atoi(c[0].cli(t, "cluster", "keyslot", key))
			require.NoError(t, err)
			require.Equal(t, (2*i+1)*16384/(2*len(tags)), slot, key)
		}
	}
	const peers = 3000
	for i := range peers {
		mustAdd(t, s, testRecord("ns", i, time.Minute))
	}
	for _, master := range c[:3] {
		held := 0
		for _, sh := range s.shards {
			held += hashLength(master, sh.array("ns"))
		}
		require.InDelta(t, peers/3, held, peers/10, "each master has a third")
	}
	require.Len(t, mustSample(t, open(t, c.url()), "ns"), peers)

	_, err := Open(t.Context(), c[0].url()+"/1")
	require.Error(t, err, "a cluster has only database 0")
}

// hashLength returns the length of a hash, or 0 if another node has it.
func hashLength(s *server, key string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(s.send("HLEN "+key), ":"))
	return n
}

// TestClusterTotal checks that the points of a cluster exceed the total only by what they
// add before they know of each other's additions.
func TestClusterTotal(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	points := []*Storage{open(t, c.url()), open(t, c.url())}
	q := rendezvous.Quota{Total: 100}
	added := 0
	for i := range 200 {
		err := points[i%2].Add(t.Context(), testRecord("ns", i, time.Minute), q)
		if err == nil {
			added++
		} else {
			require.ErrorIs(t, err, rendezvous.ErrFull)
		}
		pause(t, 5*time.Millisecond)
	}
	require.GreaterOrEqual(t, added, 100)
	require.Less(t, added, 160)
	pause(t, 2*visitInterval)
	for _, s := range points {
		require.ErrorIs(t, s.Add(t.Context(), testRecord("ns", 1000, time.Minute), q), rendezvous.ErrFull)
	}
}

// TestClusterExpired checks that a shard does not count what has expired in the others, also
// before they report the next time.
func TestClusterExpired(t *testing.T) {
	t.Parallel()
	s := open(t, startCluster(t, "redis-server").url())
	s.monitor.stop()
	const limit, ttl = 100, 4 * time.Second
	q := rendezvous.Quota{Total: limit}
	for i := range limit {
		require.NoError(t, s.Add(t.Context(), testRecord("ns", i, ttl), rendezvous.Quota{}))
	}
	for _, sh := range s.shards {
		sh.renewReport(t.Context(), sh.now())
	}
	require.ErrorIs(t, s.Add(t.Context(), testRecord("ns", limit, time.Minute), rendezvous.Quota{Total: 50}), rendezvous.ErrFull)
	pause(t, ttl)
	for i := range limit {
		require.NoError(t, s.Add(t.Context(), testRecord("new", i, time.Minute), q))
	}
	require.ErrorIs(t, s.Add(t.Context(), testRecord("new", limit, time.Minute), q), rendezvous.ErrFull)
}
