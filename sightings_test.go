package rendezvous

// What a client makes of the words of several points, and of what one point says at different
// times, in virtual time.

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// overSim returns an address of a host in a simulation.
func overSim(ip string) string { return "/ip4/" + ip + "/udp/8000/quic-v1" }

// addHostAt adds a host to a simulation that listens at some IP addresses. It dials from the
// last one.
func (s *simulation) addHostAt(t testing.TB, key crypto.PrivKey, ips ...string) host.Host {
	t.Helper()
	var listen []string
	for _, ip := range ips {
		listen = append(listen, overSim(ip))
	}
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(listen...),
		libp2p.DisableIdentifyAddressDiscovery(),
		simlibp2p.QUICSimnet(s.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
	)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// cutOff cuts an IP address off without telling anybody, or connects it again.
func (s *simulation) cutOff(ip string, off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unplugged[ip] = off
}

// find returns the addresses at which FindPeers finds a peer.
func find(t testing.TB, c *Client, ns string, id peer.ID) (addrs []ma.Multiaddr, found bool) {
	t.Helper()
	peers, err := c.FindPeers(t.Context(), ns)
	require.NoError(t, err)
	for p := range peers {
		require.LessOrEqual(t, len(p.Addrs), 16)
		if p.ID == id {
			addrs, found = p.Addrs, true
		}
	}
	return addrs, found
}

// TestTwoPointsOfOneNetwork: one of two points is in the private network of the peers, and
// shows their private addresses. The other one is outside and shows none. The peers find each
// other at these addresses, whatever the IDs of the points are.
func TestTwoPointsOfOneNetwork(t *testing.T) {
	for _, insideFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("smaller ID inside %v", insideFirst), func(t *testing.T) {
			inEachProtocol(t, func(t *testing.T, p spoken) {
				t.Helper()
				synctest.Test(t, func(t *testing.T) {
					sim := newSimulation(t, 1, 10*time.Millisecond)
					outside := sim.hosts[0]
					key, id := newKey(t, crypto.Ed25519)
					for (id < outside.ID()) != insideFirst {
						key, id = newKey(t, crypto.Ed25519)
					}
					inside := sim.addHostAt(t, key, "10.0.0.2")
					for _, h := range []host.Host{outside, inside} {
						startPoint(t, h, testStorage(t), p.serve...)
					}
					infos := []peer.AddrInfo{info(outside), info(inside)}
					key, id = newKey(t, crypto.Ed25519)
					keep(t, p.client(sim.addHostAt(t, key, "10.0.0.3"), infos...))
					key, _ = newKey(t, crypto.Ed25519)
					c := p.client(sim.addHostAt(t, key, "10.0.0.4"), infos...)
					time.Sleep(3 * time.Second)

					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					events, err := c.Watch(ctx, "n")
					require.NoError(t, err)
					told := newTold(t, events)
					want := []ma.Multiaddr{ma.StringCast(overSim("10.0.0.3"))}
					for range 30 {
						time.Sleep(time.Second)
						addrs, found := find(t, c, "n", id)
						require.True(t, found)
						require.Equal(t, want, addrs)
						require.Equal(t, want, told.read()[id])
					}
					require.LessOrEqual(t, told.events, 2, "it joins, and moves if the point outside is the first to answer")
					cancel()
					for range events { // it ends
					}
				})
			})
		})
	}
}

// TestPointOnTwoNetworks: a host that is connected to its point over the internet comes into
// the point's private network, and leaves it again. It finds another peer there at its private
// address while the host is in that network, and only then.
func TestPointOnTwoNetworks(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const public, private = "1.2.3.4", "10.0.0.2"
			sim := newSimulation(t, 1, 10*time.Millisecond)
			h := sim.hosts[0]
			key, _ := newKey(t, crypto.Ed25519)
			point := sim.addHostAt(t, key, public, private)
			startPoint(t, point, testStorage(t), p.serve...)
			key, id := newKey(t, crypto.Ed25519)
			keep(t, p.client(sim.addHostAt(t, key, "1.2.3.5", "10.0.0.3"), info(point)))
			far := []ma.Multiaddr{ma.StringCast(overSim("1.2.3.5"))}
			near := append(slices.Clone(far), ma.StringCast(overSim("10.0.0.3")))

			sim.cutOff(private, true)
			c := p.client(h, peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{ma.StringCast(overSim(public))}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			told := newTold(t, events)
			await := func(want []ma.Multiaddr) {
				t.Helper()
				time.Sleep(20 * time.Second)
				addrs, found := find(t, c, "n", id)
				require.True(t, found)
				require.Equal(t, want, addrs)
				require.Equal(t, want, told.read()[id])
			}
			await(far)
			require.Equal(t, 1, told.events)
			for range 3 {
				sim.cutOff(private, false)
				require.NoError(t, point.Network().ClosePeer(h.ID()))
				require.NoError(t, point.Connect(t.Context(), info(h))) // from its last address
				await(near)
				sim.cutOff(private, true)
				await(far)
			}
			require.Equal(t, 7, told.events, "Joined, and Moved each time")
			cancel()
			for range events { // it ends
			}
		})
	})
}

// told is what Watch has told.
type told struct {
	t      testing.TB
	from   <-chan Event
	addrs  map[peer.ID][]ma.Multiaddr // of the peers that are there
	events int
}

func newTold(t testing.TB, from <-chan Event) *told {
	t.Helper()
	return &told{t: t, from: from, addrs: make(map[peer.ID][]ma.Multiaddr)}
}

// read returns the addresses of the peers that are there, after what has been told by now.
func (w *told) read() map[peer.ID][]ma.Multiaddr {
	w.t.Helper()
	for _, e := range allPending(w.from) {
		w.events++
		_, there := w.addrs[e.Peer.ID]
		require.Equal(w.t, e.Type != Joined, there, "%s", e.Type)
		require.LessOrEqual(w.t, len(e.Peer.Addrs), 16)
		if e.Type == Left {
			delete(w.addrs, e.Peer.ID)
		} else {
			w.addrs[e.Peer.ID] = e.Peer.Addrs
		}
	}
	return w.addrs
}
