package redisstorage

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestRenewWithoutShard checks that Renew does not wait for a shard that is down, renews the
// peers of all others, and says that it has left some out.
func TestRenewWithoutShard(t *testing.T) {
	t.Parallel()
	s := open(t, startCluster(t, "redis-server").url())
	const peers = 100
	var ids []peer.ID
	down, held := shardOf(testPeer(0), len(s.shards)), 0
	for i := range peers {
		mustAdd(t, s, lastingRecord("ns", i, -time.Second))
		ids = append(ids, testPeer(i))
		if shardOf(testPeer(i), len(s.shards)) == down {
			held++
		}
	}
	require.Empty(t, mustSample(t, s, "ns"))
	s.monitor.stop() // it would find out that all shards can be reached
	s.health.fail(down, errors.New("no answer"))
	require.ErrorIs(t, s.Renew(t.Context(), ids, time.Now().Add(time.Minute)), rendezvous.ErrUnreachable)
	s.health.succeed(down)
	require.Len(t, mustSample(t, s, "ns"), peers-held)
	require.NoError(t, s.Renew(t.Context(), ids, time.Now().Add(time.Minute)))
	require.Len(t, mustSample(t, s, "ns"), peers)
}
