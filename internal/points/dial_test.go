package points

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

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
