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
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
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

// TestRemovedPoint: a point makes peers up whose registrations last for days, until it is removed.
// From then on, no search finds them. Watch soon says that they have left, and says nothing of
// the peer that a point which stays has as well.
func TestRemovedPoint(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const madeUp = 300
			sim := newSimulation(t, 5, 10*time.Millisecond)
			hostile, honest, another := sim.hosts[0], sim.hosts[1], sim.hosts[2]
			storage := testStorage(t)
			startPoint(t, hostile, storage, p.serve...)
			startPoint(t, honest, testStorage(t), p.serve...)
			startPoint(t, another, testStorage(t), p.serve...)
			for range madeUp {
				key, id := newKey(t, crypto.Ed25519)
				require.NoError(t, storage.Add(t.Context(), Record{
					Namespace: "n", Peer: id, Envelope: seal(t, key, id, addr), Deadline: time.Now().Add(72 * time.Hour),
				}, Quota{}))
			}
			other := p.client(sim.hosts[3], info(hostile), info(honest))
			keep(t, other)
			c := p.client(sim.hosts[4], info(hostile), info(honest))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			told := newTold(t, events)
			time.Sleep(10 * time.Second)
			require.Equal(t, madeUp+1, told.peers())

			id := sim.hosts[3].ID()
			only := func() {
				t.Helper()
				for _, found := range drain(t, c, "n", discovery.Limit(MaxDiscoverLimit)) {
					require.Equal(t, id, found)
				}
			}
			require.NoError(t, c.SetPoints(info(honest)))
			only()
			time.Sleep(5 * time.Second)
			require.True(t, told.has(id))
			time.Sleep(15 * time.Second)
			require.True(t, told.has(id))
			require.Equal(t, 1, told.peers())
			only()
			require.Equal(t, madeUp+1+madeUp, told.events, "each joins and leaves, but for one that stays")

			require.NoError(t, c.SetPoints(info(another)))
			time.Sleep(5 * time.Second)
			require.NoError(t, other.SetPoints(info(another))) // which some are told later than others
			time.Sleep(time.Minute)
			require.True(t, told.has(id))
			require.Equal(t, madeUp+1+madeUp, told.events, "it has not left meanwhile")
			only()
			cancel()
			for range events { // it ends
			}
		})
	})
}

// TestRemovedPointAnswers: what a point answers after it was removed counts for nothing.
func TestRemovedPointAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		startPoint(t, hosts[1], testStorage(t))
		answer := sending(t, registrations(sealedRecords(t, 10)...))
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			time.Sleep(800 * time.Millisecond) // less than after what another point is asked
			answer(st, m)
		})
		c := NewClient(hosts[2], WithPoints(info(hosts[0])))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, err := c.Watch(ctx, "n")
		require.NoError(t, err)
		found, err := c.FindPeers(ctx, "n")
		require.NoError(t, err)
		time.Sleep(400 * time.Millisecond)
		require.NoError(t, c.SetPoints(info(hosts[1])))
		for p := range found {
			require.Fail(t, "found", "%s", p.ID)
		}
		time.Sleep(10 * time.Second)
		require.Empty(t, allPending(events))
		require.Len(t, drain(t, NewClient(hosts[2], WithPoints(info(hosts[0]))), "n"), 10, "who has not removed it")
		cancel()
		for range events { // it ends
		}
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

// peers returns how many peers are there, and has whether one of them is.
func (w *told) peers() int { return len(w.read()) }

func (w *told) has(id peer.ID) bool {
	_, there := w.read()[id]
	return there
}
