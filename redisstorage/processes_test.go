package redisstorage

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestSwapProcess checks that a process sees that another one has written the same point,
// and no other point.
func TestSwapProcess(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"single": startServer(t, "redis-server").url(), "cluster": startCluster(t, "redis-server").url()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := open(t, url), open(t, url)
			for _, step := range []struct {
				at            *Storage
				point         peer.ID
				process, want string
			}{
				{one, "a", "first", ""},
				{one, "a", "first", "first"},
				{two, "a", "second", "first"},
				{one, "a", "first", "second"},
				{two, "}{b", "second", ""},
				{two, "}{b", "second", "second"},
			} {
				before, err := step.at.SwapProcess(t.Context(), step.point, step.process)
				require.NoError(t, err)
				require.Equal(t, step.want, before)
			}
			require.NoError(t, two.Close())
			_, err := two.SwapProcess(t.Context(), "a", "second")
			require.ErrorIs(t, err, rendezvous.ErrClosed)
		})
	}
}
