package rendezvous

import (
	"bufio"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	discoveryutil "github.com/libp2p/go-libp2p/p2p/discovery/util"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/points"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// longestBackoff is the longest backoff of a point that fails.
const longestBackoff = 6 * time.Second

// drain reads the channel of FindPeers to its end.
func drain(t testing.TB, d discovery.Discovery, ns string, opts ...discovery.Option) []peer.ID {
	t.Helper()
	found, err := d.FindPeers(t.Context(), ns, opts...)
	require.NoError(t, err)
	var ids []peer.ID
	for p := range found {
		require.NotEmpty(t, p.Addrs)
		require.LessOrEqual(t, len(p.Addrs), 16)
		ids = append(ids, p.ID)
	}
	return ids
}

// TestDiscoveryFindsOthers: two peers find each other, and neither finds itself.
func TestDiscoveryFindsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		startPoint(t, hosts[0], testStorage(t))
		a := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		b := NewRendezvousDiscovery(hosts[2], WithPoints(info(hosts[0])))
		for _, d := range []discovery.Discovery{a, b} {
			next, err := d.Advertise(t.Context(), "n")
			require.NoError(t, err)
			require.Greater(t, next, MaxTTL/3)
			require.Less(t, next, MaxTTL*2/3, "there is time for a second attempt and a third")
		}
		require.Equal(t, []peer.ID{hosts[2].ID()}, drain(t, a, "n"))
		require.Equal(t, []peer.ID{hosts[1].ID()}, drain(t, b, "n"))
		require.Empty(t, drain(t, a, "another"))
	})
}

// TestAdvertiseBeforeAnyPoint: Advertise fails without a point, returns when to try again,
// and works once a point is known.
func TestAdvertiseBeforeAnyPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point, h := hosts[0], hosts[1]
		startPoint(t, point, testStorage(t))
		d := NewRendezvousDiscovery(h)
		require.IsType(t, new(Client), d)

		next, err := d.Advertise(t.Context(), "n")
		require.ErrorIs(t, err, ErrNoPoints)
		require.Positive(t, next)
		require.LessOrEqual(t, next, 2*time.Second)
		found, err := d.FindPeers(t.Context(), "n")
		require.ErrorIs(t, err, ErrNoPoints)
		for range found {
			require.Fail(t, "found an unexpected peer")
		}

		connect(t, h, point) // identify reports that it speaks the protocol
		_, err = d.Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Empty(t, drain(t, d, "n"), "only this host is registered")
	})
}

// TestAdvertiseWaitsForAPoint: Advertise waits a moment for a point that the host is about
// to meet.
func TestAdvertiseWaitsForAPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		time.AfterFunc(3*time.Second, func() { _ = hosts[1].Connect(t.Context(), info(hosts[0])) })
		begun := time.Now()
		_, err := NewRendezvousDiscovery(hosts[1]).Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Less(t, time.Since(begun), 4*time.Second)
	})
}

// TestAdvertiseBacksOff: Advertise does not try again each second if points refuse for a
// lasting reason or are gone.
func TestAdvertiseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		hostilePoint(hosts[0], sending(t, refusal(pb.Message_REGISTER, refuse(pb.Message_E_NOT_AUTHORIZED, "not you"))))
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		next, err := d.Advertise(t.Context(), "n")
		require.ErrorIs(t, err, ErrNotAuthorized)
		require.Equal(t, searchTimeout, next, "as long as a search may take")
		hostilePoint(hosts[0], sending(t, refusal(pb.Message_REGISTER, refuse(pb.Message_E_UNAVAILABLE, "later"))))
		for range 10 {
			next, err = d.Advertise(t.Context(), "n")
			require.ErrorIs(t, err, ErrUnavailable)
			require.GreaterOrEqual(t, next, retryDelay)
			require.LessOrEqual(t, next, longestBackoff)
			time.Sleep(next)
		}
		require.Greater(t, next, longestBackoff/2)
	})
}

// TestAdvertiseKeepsRegistered: the host stays registered between the calls, and for a TTL
// after the last one.
func TestAdvertiseKeepsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		s := testStorage(t)
		service := startPoint(t, hosts[0], s)
		c := NewClient(hosts[1], WithPoints(info(hosts[0])))
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.Advertise(ctx, "n")
		require.NoError(t, err)
		for range 19 {
			time.Sleep(time.Second)
			require.Equal(t, 1, live(t, s, "n"))
		}
		service.Stop()
		require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
		time.Sleep(3 * MaxTTL)
		require.Zero(t, live(t, s, "n"), "Advertise was not called again")

		discoveryutil.Advertise(ctx, c, "n") // fails, and calls again after two minutes
		time.Sleep(30 * time.Second)
		require.NoError(t, service.Start())
		time.Sleep(15 * time.Second)
		for range 600 {
			require.Equal(t, 1, live(t, s, "n"))
			time.Sleep(time.Second)
		}
		cancel()
		time.Sleep(MaxTTL + time.Second)
		require.Zero(t, live(t, s, "n"))
	})
}

// TestAdvertiseTTL: a TTL that no point would grant is clamped, not refused.
func TestAdvertiseTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		asked := make(chan int64, 1)
		hostilePoint(hosts[0], func(st network.Stream, request *pb.Message) {
			asked <- request.GetRegister().GetTtl()
			sending(t, registerResponse(time.Duration(request.GetRegister().GetTtl())*time.Second))(st, request)
		})
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		for ttl, want := range map[time.Duration]int64{0: 20, time.Hour: 20, -1: 20, 10 * time.Second: 10, 20 * time.Second: 20} {
			next, err := d.Advertise(t.Context(), ttl.String(), discovery.TTL(ttl))
			require.NoError(t, err)
			require.Equal(t, want, <-asked, "asked for %v", ttl)
			require.Less(t, next, time.Duration(want)*time.Second*2/3)
			require.Positive(t, next)
		}
	})
}

// TestDiscoveryLimit: discovery.Limit is honoured.
func TestDiscoveryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		s := testStorage(t)
		startPoint(t, hosts[0], s)
		fill(t, s, "n", 100)
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		for limit, want := range map[int]int{0: defaultSearchLimit, 1: 1, 7: 7, 100: 100, 5000: 100} {
			time.Sleep(time.Second) // of virtual time, so that this search makes its own query
			require.Len(t, drain(t, d, "n", discovery.Limit(limit)), want, "limit %d", limit)
		}
		_, err := d.FindPeers(t.Context(), "n", discovery.Limit(-1))
		require.Error(t, err)
		bad := func(*discovery.Options) error { return errors.New("no such thing") }
		_, err = d.FindPeers(t.Context(), "n", bad)
		require.ErrorContains(t, err, "no such thing")
		_, err = d.Advertise(t.Context(), "n", bad)
		require.ErrorContains(t, err, "no such thing")
	})
}

// TestSlowPointDelaysNobody: one point answers and another never does. Peers arrive at
// once and the channel closes soon.
func TestSlowPointDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		honest, silent, h := hosts[0], hosts[1], hosts[2]
		s := testStorage(t)
		startPoint(t, honest, s)
		fill(t, s, "n", 3)
		over := make(chan struct{})
		defer close(over)
		hostilePoint(silent, func(network.Stream, *pb.Message) { <-over })
		d := NewRendezvousDiscovery(h, WithPoints(info(silent), info(honest)))

		begun := time.Now()
		found, err := d.FindPeers(t.Context(), "n")
		require.NoError(t, err)
		for range 3 {
			<-found
		}
		require.Less(t, time.Since(begun), 500*time.Millisecond, "the fast point's peers are not held back")
		_, more := <-found
		require.False(t, more)
		require.LessOrEqual(t, time.Since(begun), 6*time.Second, "the channel is closed")

		begun = time.Now()
		_, err = d.Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Less(t, time.Since(begun), time.Second, "the silent point is in backoff")
	})
}

// TestAllPointsGone: known peers are returned as long as their registrations live, and
// nothing hangs.
func TestAllPointsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		point, a, b := hosts[0], hosts[1], hosts[2]
		service := startPoint(t, point, testStorage(t))
		da := NewRendezvousDiscovery(a, WithPoints(info(point)))
		db := NewRendezvousDiscovery(b, WithPoints(info(point)))
		_, err := da.Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Len(t, drain(t, db, "n"), 1)

		service.Stop()
		time.Sleep(MaxTTL / 2) // until the registration is due to be refreshed
		require.Equal(t, []peer.ID{a.ID()}, drain(t, db, "n"), "the peers of the last answer")
		next, err := da.Advertise(t.Context(), "n")
		require.Error(t, err)
		require.Positive(t, next)
		time.Sleep(MaxTTL)
		require.Empty(t, drain(t, db, "n"), "ended since")

		require.NoError(t, service.Start())
		time.Sleep(longestBackoff)
		_, err = da.Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Len(t, drain(t, db, "n"), 1)
	})
}

// TestFindPeersEndsWithItsContext: a cancelled search ends, whether or not its channel is
// read.
func TestFindPeersEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		over := make(chan struct{})
		defer close(over)
		hostilePoint(hosts[0], func(network.Stream, *pb.Message) { <-over })
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		ctx, cancel := context.WithCancel(t.Context())
		first, err := d.FindPeers(ctx, "n")
		require.NoError(t, err)
		second, err := d.FindPeers(ctx, "n") // waits for the first
		require.NoError(t, err)
		time.AfterFunc(100*time.Millisecond, cancel)
		begun := time.Now()
		for range first {
			require.Fail(t, "found an unexpected peer")
		}
		for range second {
			require.Fail(t, "found an unexpected peer")
		}
		require.Less(t, time.Since(begun), 200*time.Millisecond)
	})
}

// TestFindPeersEndsItsRequests: when the channel is closed, nothing runs any more that the search
// has started, whether it was cancelled or has all that it wants.
func TestFindPeersEndsItsRequests(t *testing.T) {
	for name, row := range map[string]struct {
		peers int
		after time.Duration // when the search is cancelled
	}{
		"cancelled":     {0, 300 * time.Millisecond},
		"found enough":  {2, time.Minute},
		"found nothing": {0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 3)
				storage := testStorage(t)
				startPoint(t, hosts[0], storage)
				fill(t, storage, "n", row.peers)
				over := make(chan struct{})
				defer close(over)
				hostilePoint(hosts[1], func(network.Stream, *pb.Message) { <-over })
				silent := &requestCount{at: hosts[1].ID()}
				c := NewClient(hosts[2], WithPoints(info(hosts[0]), info(hosts[1])), silent.option)
				ctx, cancel := context.WithTimeout(t.Context(), row.after)
				defer cancel()
				found, err := c.FindPeers(ctx, "n", discovery.Limit(1))
				require.NoError(t, err)
				n := 0
				for range found { // until it has ended
					n++
				}
				require.Equal(t, min(row.peers, 1), n)
				require.EqualValues(t, 1, silent.discovers.Load())
				q := c.searches.get("n").query
				require.True(t, q.over())
			})
		})
	}
}

// TestOneQueryInFlight: however often gossipsub searches, each point gets one query at a
// time.
func TestOneQueryInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		queries := make(chan struct{}, 100)
		answer := sending(t, registrations())
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			queries <- struct{}{}
			time.Sleep(300 * time.Millisecond) // of virtual time
			answer(st, m)
		})
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		var channels []<-chan peer.AddrInfo
		for range 20 {
			found, err := d.FindPeers(t.Context(), "n")
			require.NoError(t, err)
			channels = append(channels, found)
		}
		for _, found := range channels {
			for range found {
				require.Fail(t, "found an unexpected peer")
			}
		}
		require.Len(t, queries, 1)
	})
}

// TestSearchesShareAQuery: a search that starts during a query gets the answers of fast
// points at once. It goes on when the first search is cancelled.
func TestSearchesShareAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		s := testStorage(t)
		startPoint(t, hosts[0], s)
		fill(t, s, "n", 3)
		over := make(chan struct{})
		defer close(over)
		hostilePoint(hosts[1], func(network.Stream, *pb.Message) { <-over })
		d := NewRendezvousDiscovery(hosts[2], WithPoints(info(hosts[0]), info(hosts[1])))
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		first, err := d.FindPeers(ctx, "n")
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
		second, err := d.FindPeers(t.Context(), "n")
		require.NoError(t, err)
		for range 3 {
			<-second
		}
		require.Less(t, time.Since(begun), 500*time.Millisecond)
		cancel()
		for range first { // it ends
		}
		require.Less(t, time.Since(begun), 500*time.Millisecond)
		for range second {
			require.Fail(t, "each once")
		}
		require.Less(t, time.Since(begun), 4*time.Second)
	})
}

// silentPoint is a point that never answers.
type silentPoint struct {
	queries, inFlight, most atomic.Int64
}

func newSilentPoint(h host.Host) *silentPoint {
	p := new(silentPoint)
	for _, id := range []protocol.ID{RendezvousID_v001, StandardID} {
		h.SetStreamHandler(id, func(st network.Stream) {
			defer st.Close()
			r := bufio.NewReader(st)
			if _, err := wire.ReadFrame(r, nil, wire.Waku.MaxRequest); err != nil {
				return
			}
			p.queries.Add(1)
			p.most.Store(max(p.most.Load(), p.inFlight.Add(1)))
			defer p.inFlight.Add(-1)
			_, _ = r.ReadByte() // until the client gives up
		})
	}
	return p
}

// TestSilentPointAndManyCallers: each caller's channel is closed at most eight seconds
// after its call, and all callers share one query to the point.
func TestSilentPointAndManyCallers(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		for name, apart := range map[string]time.Duration{"at one instant": 0, "one after another": 10 * time.Millisecond} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hosts := simHosts(t, 2)
					silent := newSilentPoint(hosts[0])
					c := p.client(hosts[1], info(hosts[0]))
					var callers sync.WaitGroup
					for range 100 {
						callers.Go(func() {
							begun := time.Now()
							if found := drain(t, c, "n"); len(found) > 0 {
								t.Errorf("found %v", found)
							}
							if took := time.Since(begun); took > 8*time.Second {
								t.Errorf("the channel was closed after %v", took)
							}
						})
						time.Sleep(apart)
					}
					callers.Wait()
					require.EqualValues(t, 1, silent.queries.Load())

					begun := time.Now()
					for time.Since(begun) < time.Minute { // gossipsub goes on searching
						callers.Go(func() { drain(t, c, "n") })
						time.Sleep(100 * time.Millisecond)
					}
					callers.Wait()
					require.EqualValues(t, 1, silent.most.Load(), "never two at a time")
					require.LessOrEqual(t, silent.queries.Load(), int64(20), "an attempt, and one on a new connection, every ten seconds or so")
					_, err := c.Discover(t.Context(), hosts[0].ID(), "n", 0)
					require.Error(t, err)
				})
			})
		}
	})
}

// TestLimitsOfSeveralCallers: each caller gets the number it requested, regardless of who
// was first.
func TestLimitsOfSeveralCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		s := testStorage(t)
		startPoint(t, hosts[0], s)
		fill(t, s, "n", 100)
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		var found []<-chan peer.AddrInfo
		for _, limit := range []int{1, 100} {
			f, err := d.FindPeers(t.Context(), "n", discovery.Limit(limit))
			require.NoError(t, err)
			found = append(found, f)
		}
		for i, want := range []int{1, 100} {
			n := 0
			for range found[i] {
				n++
			}
			require.Equal(t, want, n)
		}
	})
}

// TestSearchesGrowApart: while nothing changes, points are asked less often, however often
// gossipsub searches in however many topics. A change ends that at once.
func TestSearchesGrowApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		queries := make(chan struct{}, 1000)
		var present [][]byte
		var mu sync.Mutex
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			queries <- struct{}{}
			mu.Lock()
			answer := registrations(present...)
			mu.Unlock()
			sending(t, answer)(st, m)
		})
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		search := func(seconds int) (asked int) {
			for range seconds {
				drain(t, d, "n")
				time.Sleep(time.Second)
			}
			for len(queries) > 0 {
				<-queries
				asked++
			}
			return asked
		}
		search(20)
		require.LessOrEqual(t, search(60), 22)
		mu.Lock()
		present = sealedRecords(t, 1)
		mu.Unlock()
		require.GreaterOrEqual(t, search(10), 4, "after the client has noticed the change")
	})
}

// TestConnectedPeersAreLeftOut: a search does not return connected peers. Gossipsub has
// them already, and lengthens a peer's backoff each time the peer is found.
func TestConnectedPeersAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 4)
		startPoint(t, hosts[0], testStorage(t))
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		for _, h := range hosts[2:] {
			_, err := NewClient(h).Register(t.Context(), hosts[0].ID(), "n", 0)
			require.Error(t, err, "not connected")
			connect(t, h, hosts[0])
			_, err = NewClient(h).Register(t.Context(), hosts[0].ID(), "n", 0)
			require.NoError(t, err)
		}
		connect(t, hosts[1], hosts[2])
		require.Equal(t, []peer.ID{hosts[3].ID()}, drain(t, d, "n"))
		require.NoError(t, hosts[1].Network().ClosePeer(hosts[2].ID()))
		require.Len(t, drain(t, d, "n"), 2)
	})
}

// TestRelayedPeersAreFound: gossipsub does not use a connection that a relay limits, so a peer
// behind one is found.
func TestRelayedPeersAreFound(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 4, 10*time.Millisecond)
			point, relayHost, h, relayed := sim.hosts[0], sim.hosts[1], sim.hosts[2], sim.hosts[3]
			rejoin := part(sim, 2, 3)
			startPoint(t, point, testStorage(t), p.serve...)
			keep(t, p.client(relayed, info(point)))
			require.NoError(t, h.Connect(network.WithAllowLimitedConn(t.Context(), "test"), reserve(t, relayHost, relayed)))
			time.Sleep(time.Second)
			c := p.client(h, info(point))
			require.Equal(t, network.Limited, h.Network().Connectedness(relayed.ID()))
			require.Equal(t, []peer.ID{relayed.ID()}, drain(t, c, "n"))

			rejoin()
			require.NoError(t, h.Connect(network.WithForceDirectDial(t.Context(), "test"), info(relayed)))
			require.Equal(t, network.Connected, h.Network().Connectedness(relayed.ID()))
			time.Sleep(time.Second)
			require.Empty(t, drain(t, c, "n"))
		})
	})
}

// part lets no packet pass between hosts i and j until rejoin is called.
func part(s *simulation, i, j int) (rejoin func()) {
	s.separate(i, j)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		a, b := simnet.IntToPublicIPv4(i).String(), simnet.IntToPublicIPv4(j).String()
		delete(s.apart, [2]string{a, b})
		delete(s.apart, [2]string{b, a})
	}
}

// TestSimulationDeadConnection: two gossipsub nodes, set up as in the README, are connected for
// minutes. Then no packet passes between them until libp2p says so at both. As soon as there is a
// path again, they connect.
func TestSimulationDeadConnection(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 20*time.Millisecond)
			point, a, b := sim.hosts[0], sim.hosts[1], sim.hosts[2]
			startPoint(t, point, testStorage(t), p.serve...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			nodes := []*gossipNode{
				startGossipOver(ctx, t, a, p.client(a, info(point))),
				startGossipOver(ctx, t, b, p.client(b, info(point))),
			}
			connected := func() bool {
				return a.Network().Connectedness(b.ID()) == network.Connected || b.Network().Connectedness(a.ID()) == network.Connected
			}
			for range 3 {
				time.Sleep(5 * time.Minute)
				require.Equal(t, 2, reached(nodes))
				rejoin := part(sim, 1, 2)
				died := time.Now()
				for connected() && time.Since(died) < 5*time.Minute {
					time.Sleep(10 * time.Millisecond)
				}
				rejoin()
				broken := time.Now()
				time.Sleep(100 * time.Millisecond)
				for reached(nodes) < 2 && time.Since(broken) < 10*time.Minute {
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("a connection died, which libp2p said after %v: back %v later", broken.Sub(died), time.Since(broken))
				require.LessOrEqual(t, time.Since(broken), 15*time.Second)
			}
		})
	})
}

// TestHopelessSearchEnds: a search ends at once if all points refuse, and soon if they
// fail.
func TestHopelessSearchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		for refused, bound := range map[error]time.Duration{ErrNotAuthorized: time.Second, ErrUnavailable: searchTimeout} {
			hostilePoint(hosts[0], sending(t, refusal(pb.Message_DISCOVER, func() *StatusError {
				target := &StatusError{}
				_ = errors.As(refused, &target)
				return target
			}())))
			begun := time.Now()
			require.Empty(t, drain(t, d, "n"))
			require.LessOrEqual(t, time.Since(begun), bound, refused)
			time.Sleep(longestBackoff)
		}
	})
}

// TestPointsFallToTheNext: peers agree on the points of a namespace, and on the next ones
// when some fail.
func TestPointsFallToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 6)
		pointHosts, a, b := hosts[:4], hosts[4], hosts[5]
		var infos []peer.AddrInfo
		byID := make(map[peer.ID]host.Host)
		storages := make(map[peer.ID]Storage)
		services := make(map[peer.ID]*RendezvousService)
		for _, p := range pointHosts {
			infos = append(infos, info(p))
			byID[p.ID()] = p
			storages[p.ID()] = testStorage(t)
			services[p.ID()] = startPoint(t, p, storages[p.ID()])
		}
		da := NewRendezvousDiscovery(a, WithPoints(infos...))
		db := NewRendezvousDiscovery(b, WithPoints(infos[3], infos[1], infos[0], infos[2]))
		_, err := da.Advertise(t.Context(), "n")
		require.NoError(t, err)
		var ids []peer.ID
		for id := range storages {
			ids = append(ids, id)
		}
		ranked := points.Rank(ids, "n")
		for i, id := range ranked {
			held, err := storages[id].Sample(t.Context(), "n", 10, 0)
			require.NoError(t, err)
			require.Len(t, held, map[bool]int{true: 1, false: 0}[i < 2], "registered only at the best two points")
		}
		require.Len(t, drain(t, db, "n"), 1)

		services[ranked[0]].Stop()
		services[ranked[1]].Stop()
		_, err = da.Advertise(t.Context(), "n")
		require.NoError(t, err)
		time.Sleep(MaxTTL) // known registrations have expired
		_, err = da.Advertise(t.Context(), "n")
		require.NoError(t, err)
		require.Len(t, drain(t, db, "n"), 1, "found through the next two points")
	})
}

// TestSearchesOfSeveralNamespaces: a search in one namespace does not end the searches in
// others, unless those were idle for long.
func TestSearchesOfSeveralNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSearches(nil)
		a, b := s.get("a"), s.get("b")
		require.Same(t, a, s.get("a"))
		require.Same(t, b, s.get("b"))
		a.query = &query{done: make(chan struct{})} // in flight
		s.get("b")
		require.Same(t, a, s.get("a"))
		time.Sleep(MaxTTL + 1)
		require.Same(t, a, s.get("a"))
		require.NotSame(t, b, s.get("b"), "the search was idle for a TTL")
	})
}

// TestAdvertiseShortly: a host that requests a short TTL is also registered all the time.
func TestAdvertiseShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		d := NewRendezvousDiscovery(hosts[1], WithPoints(info(hosts[0])))
		for ttl := time.Second; ttl <= 6*time.Second; ttl += time.Second {
			next, err := d.Advertise(t.Context(), "n", discovery.TTL(ttl))
			require.NoError(t, err)
			require.Less(t, next, ttl*4/5)
			require.GreaterOrEqual(t, next, ttl*2/5-100*time.Millisecond)
		}
	})
}
