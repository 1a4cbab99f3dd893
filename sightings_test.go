package rendezvous

// What a client makes of the words of several points, and of what one point says at different
// times, in virtual time.

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
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
				// libp2p keeps a dead connection beside the one in use until it has been idle for long
				// enough, and over 1.0.0 the client reads what it knows anew once a minute.
				time.Sleep(2 * time.Minute)
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

// TestClockSetBack: a host restarts at another address, with its clock set back by an hour, so that
// the record that it registers has a lower sequence number. FindPeers and Watch have it at the new
// address alone, and do not go back to the old one.
func TestClockSetBack(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 10*time.Millisecond)
			infos := []peer.AddrInfo{info(sim.hosts[0]), info(sim.hosts[1])}
			for _, h := range sim.hosts[:2] {
				startPoint(t, h, testStorage(t), p.serve...)
			}
			c := p.client(sim.hosts[2], infos...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			told := newTold(t, events)
			key, id := newKey(t, crypto.Ed25519)
			last := uint64(math.MaxUint64)
			for i, ahead := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour} {
				ip := fmt.Sprint("1.2.3.", 4+i)
				h := sim.addHostAt(t, key, ip)
				seq := setClock(t, h, ahead)
				require.Less(t, seq, last)
				last = seq
				until, stop := context.WithCancel(ctx)
				states, err := p.client(h, infos...).KeepRegistered(until, "n")
				require.NoError(t, err)
				begun := time.Now()
				for _, point := range infos {
					awaitRecord(t, c, point.ID, id, seq)
				}
				want := []ma.Multiaddr{ma.StringCast(overSim(ip))}
				for addrs, _ := find(t, c, "n", id); !slices.EqualFunc(addrs, want, ma.Multiaddr.Equal); addrs, _ = find(t, c, "n", id) {
					require.Less(t, time.Since(begun), 3*time.Second)
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("%v ahead: found at the new address alone after %v", ahead, time.Since(begun))
				time.Sleep(time.Until(begun.Add(10 * time.Second)))
				require.Equal(t, want, told.read()[id])
				before := told.events
				time.Sleep(time.Minute)
				require.Equal(t, want, told.read()[id])
				require.Equal(t, before, told.events, "it has not moved since")
				addrs, _ := find(t, c, "n", id)
				require.Equal(t, want, addrs)
				if i < 2 { // the machine fails
					sim.cutOff(ip, true)
					stop()
					for range states { // until its goroutines have ended
					}
					require.NoError(t, h.Close())
				}
				stop()
				for range states { // it ends
				}
			}
			require.LessOrEqual(t, told.events, 5, "Joined, and Moved as each point has the new record")
			require.Zero(t, told.left)
			cancel()
			for range events { // it ends
			}
		})
	})
}

// setClock gives a host the record that it would have with another clock, and returns the
// sequence number.
func setClock(t testing.TB, h host.Host, ahead time.Duration) uint64 {
	t.Helper()
	synctest.Wait() // until the host knows its addresses
	rec := peer.PeerRecordFromAddrInfo(info(h))
	rec.Seq += uint64(ahead) // not of time.Now, which begins anew in each bubble
	signed, err := record.Seal(rec, h.Peerstore().PrivKey(h.ID()))
	require.NoError(t, err)
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	require.True(t, ok)
	accepted, err := book.ConsumePeerRecord(signed, peerstore.PermanentAddrTTL)
	require.NoError(t, err)
	require.True(t, accepted)
	return rec.Seq
}

// awaitRecord waits until a point has the record of a peer with that sequence number.
func awaitRecord(t testing.TB, c *Client, point, id peer.ID, seq uint64) {
	t.Helper()
	var found []Registration
	for range 100 {
		var err error
		found, err = c.Discover(t.Context(), point, "n", 0)
		require.NoError(t, err)
		if slices.ContainsFunc(found, func(r Registration) bool { return r.Peer.ID == id && r.Seq == seq }) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.Fail(t, "not registered", "%d in %v", seq, found)
}

// TestManyAddresses: peers register 250 addresses each, over the wire. Discover, FindPeers and Watch
// return 16 of them at most, loopback ones only from a point on loopback, and private ones only
// from a point on such an address.
func TestManyAddresses(t *testing.T) {
	tcp := func(ip string, n int) (addrs []ma.Multiaddr) {
		for i := range n {
			addrs = append(addrs, ma.StringCast(fmt.Sprintf("/ip4/%s/tcp/%d", ip, 1+i)))
		}
		return addrs
	}
	const public, private, loopback = "1.2.3.4", "192.168.1.2", "127.0.0.1"
	records := [][]ma.Multiaddr{tcp(public, 250), tcp(private, 250), tcp(loopback, 250), slices.Concat(tcp(loopback, 240), tcp(private, 5), tcp(public, 5))}
	for _, row := range []struct {
		point string
		want  [4][]ma.Multiaddr // of each of the records
	}{
		{"5.6.7.8", [4][]ma.Multiaddr{tcp(public, 16), nil, nil, tcp(public, 5)}},
		{"10.0.0.2", [4][]ma.Multiaddr{tcp(public, 16), tcp(private, 16), nil, slices.Concat(tcp(public, 5), tcp(private, 5))}},
		{loopback, [4][]ma.Multiaddr{tcp(public, 16), tcp(private, 16), tcp(loopback, 16), slices.Concat(tcp(public, 5), tcp(private, 5), tcp(loopback, 6))}},
	} {
		t.Run("from "+row.point, func(t *testing.T) {
			inEachProtocol(t, func(t *testing.T, p spoken) {
				t.Helper()
				synctest.Test(t, func(t *testing.T) {
					sim := newSimulation(t, 5, 10*time.Millisecond)
					key, _ := newKey(t, crypto.Ed25519)
					point := sim.addHostAt(t, key, row.point)
					startPoint(t, point, testStorage(t), p.serve...)
					want := make(map[peer.ID][]ma.Multiaddr)
					for i, h := range sim.hosts[1:] {
						all := func([]ma.Multiaddr) []ma.Multiaddr { return records[i] }
						keep(t, NewClient(h, WithPoints(info(point)), p.speak, WithAddrsFactory(all)))
						want[h.ID()] = row.want[i]
					}
					time.Sleep(3 * time.Second)
					c := p.client(sim.hosts[0], info(point))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					events, err := c.Watch(ctx, "n")
					require.NoError(t, err)
					told := newTold(t, events)
					time.Sleep(3 * time.Second)
					equal := func(got map[peer.ID][]ma.Multiaddr) {
						t.Helper()
						require.Len(t, got, len(want))
						for id, addrs := range want {
							require.Contains(t, got, id)
							require.True(t, slices.EqualFunc(addrs, got[id], ma.Multiaddr.Equal), "%v, and not %v", got[id], addrs)
						}
					}
					equal(told.read())
					discovered, err := c.Discover(ctx, point.ID(), "n", 0)
					require.NoError(t, err)
					got := make(map[peer.ID][]ma.Multiaddr)
					for _, r := range discovered {
						got[r.Peer.ID] = r.Peer.Addrs
					}
					equal(got)
					maps.DeleteFunc(want, func(_ peer.ID, addrs []ma.Multiaddr) bool { return len(addrs) == 0 })
					clear(got)
					found, err := c.FindPeers(ctx, "n")
					require.NoError(t, err)
					for f := range found {
						got[f.ID] = f.Addrs
					}
					equal(got)
					cancel()
					for range events { // it ends
					}
				})
			})
		})
	}
}

// TestDialsOfOneConnect: a peer registers 250 addresses that are another machine's. Who connects
// to that peer makes at most 16 connections to the machine.
func TestDialsOfOneConnect(t *testing.T) {
	const ports = 250
	var dials atomic.Int64
	var addrs []ma.Multiaddr
	for range ports {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				dials.Add(1)
				_ = c.Close()
			}
		})
		t.Cleanup(func() {
			require.NoError(t, l.Close())
			accepting.Wait()
		})
		a, err := manet.FromNetAddr(l.Addr())
		require.NoError(t, err)
		addrs = append(addrs, a)
	}
	point, attacker, h := newHost(t), newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	theirs := WithAddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return addrs })
	_, err := NewClient(attacker, WithPoints(info(point)), theirs).Register(t.Context(), point.ID(), "n", 0)
	require.NoError(t, err)
	require.Zero(t, dials.Load(), "the point does not dial what is registered")

	found, err := NewClient(h, WithPoints(info(point))).FindPeers(t.Context(), "n")
	require.NoError(t, err)
	p := <-found
	require.Equal(t, attacker.ID(), p.ID)
	require.Zero(t, dials.Load(), "nor does a search")
	require.Error(t, h.Connect(t.Context(), p))
	require.EqualValues(t, 16, dials.Load())
}

// greedyPoint answers each DISCOVER with a thousand made-up registrations, as far as they fit, and
// counts the answers. It speaks both protocols.
func greedyPoint(h host.Host, invent func() wire.Found, answered *atomic.Int64) {
	for id, d := range map[protocol.ID]*wire.Dialect{RendezvousID_v001: wire.Waku, StandardID: wire.Standard} {
		h.SetStreamHandler(id, func(st network.Stream) {
			defer st.Close()
			if _, err := wire.ReadFrame(bufio.NewReader(st), nil, d.MaxRequest); err != nil {
				return
			}
			all := make([]wire.Found, MaxDiscoverLimit)
			for i := range all {
				all[i] = invent()
			}
			n := answered.Add(1)
			_, _ = d.WriteFound(st, make([]byte, 64<<10), all, binary.BigEndian.AppendUint64(nil, uint64(n)))
		})
	}
}

// told is what Watch has told.
type told struct {
	t      testing.TB
	from   <-chan Event
	addrs  map[peer.ID][]ma.Multiaddr // of the peers that are there
	events int
	left   int // how many of the events say so
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
			w.left++
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

// TestCrowd: hundreds of peers with long records register at an honest point first, and for days.
// They do not keep those that come later out of what a search finds and Watch reports.
func TestCrowd(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const crowd, later = 600, 50
			sim := newSimulation(t, 2, 10*time.Millisecond)
			storage := testStorage(t)
			startPoint(t, sim.hosts[0], storage, p.serve...)
			register := func(n int, addrs ...string) (ids []peer.ID) {
				until := time.Now().Add(72 * time.Hour)
				for range n {
					key, id := newKey(t, crypto.Ed25519)
					require.NoError(t, storage.Add(t.Context(), Record{
						Namespace: "n", Peer: id, Envelope: seal(t, key, id, addrs...), Deadline: until, Fresh: until,
					}, Quota{}))
					ids = append(ids, id)
				}
				return ids
			}
			var long []string
			for i := range 16 {
				long = append(long, fmt.Sprintf("/ip4/9.9.9.9/tcp/%d", 1+i)+strings.Repeat("/ws", 6))
			}
			register(crowd, long...)
			c := p.client(sim.hosts[1], info(sim.hosts[0]))
			ctx, cancel := context.WithCancel(t.Context())
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			told := newTold(t, events)
			time.Sleep(30 * time.Second)
			wanted := register(later, addr)
			time.Sleep(time.Minute)
			found := make(map[peer.ID]bool)
			for _, id := range drain(t, c, "n", discovery.Limit(MaxDiscoverLimit)) {
				found[id] = true
			}
			reported := told.read()
			missing := slices.DeleteFunc(slices.Clone(wanted), func(id peer.ID) bool { return found[id] })
			unreported := slices.DeleteFunc(wanted, func(id peer.ID) bool { return len(reported[id]) > 0 })
			t.Logf("beside a crowd of %d, a search misses %d of %d, and Watch %d", crowd, len(missing), later, len(unreported))
			require.LessOrEqual(t, len(missing), later/10)
			require.LessOrEqual(t, len(unreported), later/10)
			cancel()
			for range events { // it ends
			}
		})
	})
}
