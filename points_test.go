package rendezvous

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// somePoints returns what chooses among n named points that are nowhere.
func somePoints(t testing.TB, h host.Host, n int) *points {
	t.Helper()
	var infos []peer.AddrInfo
	for range n {
		_, id := newKey(t, 1)
		infos = append(infos, peer.AddrInfo{ID: id})
	}
	return newPoints(h, infos)
}

// TestBackoff: it doubles, is bounded, counts failures of one moment as one, and
// ends with success.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePoints(t, simHosts(t, 1)[0], 2)
		bad, good := p.choose("n")[0], p.choose("n")[1]
		for want := minBackoff; want < 4*maxBackoff; want *= 2 {
			begun := time.Now()
			for range 5 {
				p.blame(bad, begun)
				time.Sleep(time.Millisecond)
			}
			require.Equal(t, []peer.ID{good}, p.choose("n"))
			last := time.Until(p.backoff[bad].until)
			require.LessOrEqual(t, last, min(want, maxBackoff))
			require.Greater(t, last, min(want, maxBackoff)*3/4-10*time.Millisecond, "jitter takes a quarter at most")
			time.Sleep(last)
			require.Equal(t, bad, p.choose("n")[0], "its rank is what it was")
		}
		p.forgive(bad)
		p.blame(bad, time.Now())
		require.LessOrEqual(t, time.Until(p.backoff[bad].until), minBackoff)

		p.blame(good, time.Now())
		p.blame(good, time.Now().Add(time.Millisecond))
		require.Equal(t, []peer.ID{bad}, p.choose("n"), "with all in backoff, whose ends first")
	})
}

// TestAskBlamesTheGuilty: a point is not put into backoff for what it refuses, nor
// one that was cut off before it could answer.
func TestAskBlamesTheGuilty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePoints(t, simHosts(t, 1)[0], 4)
		order := p.choose("n")
		var asked []peer.ID
		answered, err := p.ask(t.Context(), "n", 1, 1, func(_ context.Context, point peer.ID) error {
			asked = append(asked, point)
			switch point {
			case order[0]:
				return errors.New("broken")
			case order[1]:
				return refuse(pb.Message_E_NOT_AUTHORIZED, "not you")
			default:
				return nil
			}
		})
		require.NoError(t, err)
		require.Equal(t, order[2:3], answered)
		require.Equal(t, order[:3], asked, "in order, and no more than needed")
		require.Equal(t, order[1:], p.choose("n"), "only the broken one is in backoff")

		_, err = p.ask(t.Context(), "n", 1, 1, func(context.Context, peer.ID) error { return ErrUnavailable })
		require.ErrorIs(t, err, ErrUnavailable)

		time.Sleep(2 * maxBackoff)
		p = somePoints(t, p.host, 4)
		ctx, cancel := context.WithTimeout(t.Context(), hedge/2)
		defer cancel()
		_, err = p.ask(ctx, "n", 2, 2, func(ctx context.Context, _ peer.ID) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, p.choose("n"), 4, "the caller had no time; nobody is to blame")
	})
}

// TestAskHedges: a silent point costs a moment, also where another answers quickly,
// and however many are silent, asking ends.
func TestAskHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePoints(t, simHosts(t, 1)[0], 10)
		order := p.choose("n")
		begun := time.Now()
		answered, err := p.ask(t.Context(), "n", 2, 1, func(ctx context.Context, point peer.ID) error {
			if point == order[0] {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		require.NoError(t, err)
		require.ElementsMatch(t, order[1:3], answered, "the third is asked for the first")
		require.LessOrEqual(t, time.Since(begun), 3*hedge)
		require.NotContains(t, p.choose("n"), order[0])

		begun = time.Now()
		_, err = p.ask(t.Context(), "n", 2, 2, func(ctx context.Context, _ peer.ID) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(begun), askTimeout)
	})
}

// TestPointsAreLearned: from what the peerstore knows, from identify as it happens,
// and from a service that starts later; they are remembered when they are gone.
func TestPointsAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 3, 10*time.Millisecond)
		h, early, late := sim.hosts[0], sim.hosts[1], sim.hosts[2]
		service := startPoint(t, early, testStorage(t))
		connect(t, h, early)
		connect(t, h, late)
		c := NewClient(h)
		require.Equal(t, []peer.ID{early.ID()}, c.points.known())
		require.False(t, c.points.is(h.ID()))

		startPoint(t, late, testStorage(t))
		time.Sleep(2 * scanInterval)
		require.ElementsMatch(t, []peer.ID{early.ID(), late.ID()}, c.points.known())

		service.Stop()
		time.Sleep(2 * scanInterval)
		require.Equal(t, []peer.ID{late.ID()}, c.points.known(), "it is there and none any more")

		sim.unplug(2, true)
		require.NoError(t, h.Network().ClosePeer(late.ID()))
		time.Sleep(10 * time.Minute)
		protocols, err := h.Peerstore().GetProtocols(late.ID())
		require.NoError(t, err)
		require.Empty(t, protocols, "the peerstore has forgotten it")
		require.Equal(t, []peer.ID{late.ID()}, c.points.known())
		sim.unplug(2, false)
		h.Peerstore().ClearAddrs(late.ID())
		_, err = c.Register(t.Context(), late.ID(), "n", 0)
		require.NoError(t, err, "the client knows where it was")

		sim.unplug(2, true)
		require.NoError(t, h.Network().ClosePeer(late.ID()))
		c.points.known()
		time.Sleep(rememberFor + time.Minute)
		require.Empty(t, c.points.known())
	})
}

// TestPointsAreScannedRarely: a peerstore may be large.
func TestPointsAreScannedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[1], testStorage(t))
		p := newPoints(hosts[0], nil)
		require.Empty(t, p.known())
		connect(t, hosts[0], hosts[1])
		require.Empty(t, p.known(), "looked a moment ago")
		require.True(t, p.concerns(event.EvtPeerIdentificationCompleted{Peer: hosts[1].ID(), Protocols: []protocol.ID{RendezvousID_v001}}))
		require.Equal(t, []peer.ID{hosts[1].ID()}, p.known(), "an event says that there is something new")
	})
}

// TestReconnectedPointIsForgiven: it has come back, whether or not anyone listens to events.
func TestReconnectedPointIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		p := newPoints(hosts[0], []peer.AddrInfo{info(hosts[1]), info(hosts[2])})
		for range 6 {
			p.blame(hosts[1].ID(), time.Now())
			time.Sleep(maxBackoff)
			p.blame(hosts[1].ID(), time.Now())
		}
		require.Equal(t, []peer.ID{hosts[2].ID()}, p.choose("n"))
		time.Sleep(time.Millisecond)
		connect(t, hosts[1], hosts[0])
		require.Len(t, p.choose("n"), 2)
		require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
		p.blame(hosts[1].ID(), time.Now())
		require.LessOrEqual(t, time.Until(p.backoff[hosts[1].ID()].until), minBackoff, "and begins anew")
	})
}

// TestDialBackoffIsIgnored: the host's own backoff from a point that was down for
// long does not keep the client from it when it is back.
func TestDialBackoffIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		point, h := sim.hosts[0], sim.hosts[1]
		startPoint(t, point, testStorage(t))
		sim.unplug(0, true)
		for range 10 { // as others on this host do
			_ = h.Connect(t.Context(), info(point))
			time.Sleep(time.Minute)
		}
		_ = h.Connect(t.Context(), info(point))
		sim.unplug(0, false)
		_, err := NewClient(h, WithPoints(info(point))).Register(t.Context(), point.ID(), "n", 0)
		require.NoError(t, err)
	})
}

// TestHostThatIsAPoint: it leaves itself out, and is found through the others.
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
		require.Equal(t, []peer.ID{hosts[0].ID()}, drain(t, other, "n"))
	})
}

// TestRankIsTheSameForAll: whatever order the points are known in, and each point
// has about its share of the namespaces.
func TestRankIsTheSameForAll(t *testing.T) {
	p := somePoints(t, newHost(t), 5)
	ids := p.known()
	first := make(map[peer.ID]int)
	for i := range 1000 {
		ns := "namespace " + string(rune('a'+i%26)) + string(rune('a'+i/26))
		ranked := rank(slices.Clone(ids), ns)
		slices.Reverse(ids)
		require.Equal(t, ranked, rank(slices.Clone(ids), ns))
		first[ranked[0]]++
	}
	for _, n := range first {
		require.InDelta(t, 200, n, 80)
	}
}

// TestOnlyItselfNamed: who names itself alone has named its points, and strangers are
// not among them.
func TestOnlyItselfNamed(t *testing.T) {
	h, stranger := newHost(t), newHost(t)
	startPoint(t, stranger, testStorage(t))
	connect(t, h, stranger)
	p := newPoints(h, []peer.AddrInfo{info(h)})
	require.Empty(t, p.known())
	require.Empty(t, p.scan())
	require.False(t, p.is(stranger.ID()))
	_, err := NewRendezvousDiscovery(h, WithPoints(info(h))).FindPeers(t.Context(), "n")
	require.ErrorIs(t, err, ErrNoPoints)
}
