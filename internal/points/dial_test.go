package points

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// TestAnswerBudget leaves room for other answers, and does not believe a relay that says
// it has no limit and limits the connection.
func TestAnswerBudget(t *testing.T) {
	require.Equal(t, defaultRelayData/2, answerBudget(nil))
	require.Equal(t, defaultRelayData/2, answerBudget(uint64(0)))
	require.Equal(t, defaultRelayData/2, answerBudget(uint64(1)<<63))
	require.Equal(t, 500, answerBudget(uint64(1000)))
}

func TestRelayOf(t *testing.T) {
	id := randomID(t)
	relay, ok := relayOf(ma.StringCast("/ip4/1.2.3.4/tcp/1/p2p/" + id.String() + "/p2p-circuit"))
	require.True(t, ok)
	require.Equal(t, id, relay)
	for _, a := range []string{"/ip4/1.2.3.4/tcp/1", "/p2p-circuit", "/ip4/1.2.3.4/tcp/1/p2p-circuit"} {
		_, ok := relayOf(ma.StringCast(a))
		require.False(t, ok, a)
	}
}
