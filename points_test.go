package rendezvous

// Tests of which points a client uses, seen from outside. The tests of how it chooses them
// are in internal/points.

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/points"
)

// rankPoints is points.Rank, for tests with a variable of that name.
func rankPoints(ids []peer.ID, ns string) []peer.ID { return points.Rank(ids, ns) }

// TestDialBackoffIsIgnored: the point was down for long, and the host is in its dial
// backoff. The client still reaches the point as soon as it is back.
func TestDialBackoffIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		point, h := sim.hosts[0], sim.hosts[1]
		startPoint(t, point, testStorage(t))
		sim.unplug(0, true)
		for range 10 { // as other parts of this host do
			_ = h.Connect(t.Context(), info(point))
			time.Sleep(time.Minute)
		}
		_ = h.Connect(t.Context(), info(point))
		sim.unplug(0, false)
		_, err := NewClient(h, WithPoints(info(point))).Register(t.Context(), point.ID(), "n", 0)
		require.NoError(t, err)
	})
}

// TestHostThatIsAPoint: a point that is also a peer does not ask itself, and is found
// through the other points.
func TestHostThatIsAPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		infos := []peer.AddrInfo{info(hosts[0]), info(hosts[1])}
		startPoint(t, hosts[0], testStorage(t))
		startPoint(t, hosts[1], testStorage(t))
		own := NewRendezvousDiscovery(hosts[0], WithPoints(infos...))
		_, err := own.Advertise(t.Context(), "n")
		require.NoError(t, err)
		other := NewRendezvousDiscovery(hosts[2], WithPoints(infos...))
		require.Empty(t, drain(t, other, "n"), "it is connected to the point already")
		require.NoError(t, hosts[2].Network().ClosePeer(hosts[0].ID()))
		require.Equal(t, []peer.ID{hosts[0].ID()}, drain(t, other, "n"))
	})
}

// TestOnlyItselfNamed: a host that names only itself has no points. Strangers that speak
// the protocol do not become points.
func TestOnlyItselfNamed(t *testing.T) {
	h, stranger := newHost(t), newHost(t)
	startPoint(t, stranger, testStorage(t))
	connect(t, h, stranger)
	_, err := NewRendezvousDiscovery(h, WithPoints(info(h))).FindPeers(t.Context(), "n")
	require.ErrorIs(t, err, ErrNoPoints)
}

// TestNoPointsNamed: with WithPoints without a point, every call returns an error, and nothing
// is sent to whoever speaks the protocol.
func TestNoPointsNamed(t *testing.T) {
	h, stranger := newHost(t), newHost(t)
	served := new(servedRequests)
	startPoint(t, stranger, testStorage(t), WithMetricsTracer(served))
	connect(t, h, stranger)
	for name, call := range map[string]func(ctx context.Context, c *Client) error{
		"Register": func(ctx context.Context, c *Client) error {
			_, err := c.Register(ctx, stranger.ID(), "n", 0)
			return err
		},
		"Unregister": func(ctx context.Context, c *Client) error { return c.Unregister(ctx, stranger.ID(), "n") },
		"Discover": func(ctx context.Context, c *Client) error {
			_, err := c.Discover(ctx, stranger.ID(), "n", 0)
			return err
		},
		"Advertise": func(ctx context.Context, c *Client) error {
			next, err := c.Advertise(ctx, "n")
			require.Positive(t, next, "gossipsub would call again at once")
			return err
		},
		"FindPeers": func(ctx context.Context, c *Client) error {
			_, err := c.FindPeers(ctx, "n")
			return err
		},
		"KeepRegistered": func(ctx context.Context, c *Client) error {
			_, err := c.KeepRegistered(ctx, "n")
			return err
		},
		"Watch": func(ctx context.Context, c *Client) error {
			_, err := c.Watch(ctx, "n")
			return err
		},
		"SetPoints": func(_ context.Context, c *Client) error { return c.SetPoints(info(stranger)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, speak := range []ClientOption{WithProtocol(RendezvousID_v001), WithProtocol(StandardID)} {
				err := call(t.Context(), NewClient(h, WithPoints(), speak))
				require.ErrorContains(t, err, "no rendezvous point given")
			}
		})
	}
	require.Zero(t, served.registers.Load()+served.discovers.Load())
}

// TestSetPoints: points can be replaced while the client runs.
func TestSetPoints(t *testing.T) {
	first, second, h := newHost(t), newHost(t), newHost(t)
	startPoint(t, first, testStorage(t))
	s := testStorage(t)
	startPoint(t, second, s)
	c := NewClient(h, WithPoints(info(first)))
	states, err := c.KeepRegistered(t.Context(), "n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return (<-states).Findable() }, onBusyMachine, time.Millisecond)
	require.Error(t, c.SetPoints())
	require.NoError(t, c.SetPoints(info(second)))
	require.Eventually(t, func() bool {
		counts, err := s.Counts(t.Context())
		return err == nil && counts.Registrations == 1
	}, onBusyMachine, 10*time.Millisecond, "registered at the new point at once")

	require.Error(t, NewClient(h).SetPoints(info(second)), "a client without WithPoints has no points to replace")
}
