package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	relayclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// TestWatch: Watch reports the peers that are present, then each peer that joins or
// leaves, but not the host itself.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 4)
		startPoint(t, hosts[0], testStorage(t))
		point := WithPoints(info(hosts[0]))
		watcher := NewClient(hosts[1], point)
		keep(t, watcher)
		keep(t, NewClient(hosts[2], point))
		time.Sleep(time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		events, err := watcher.Watch(ctx, "n")
		require.NoError(t, err)
		e := <-events
		require.Equal(t, Joined, e.Type)
		require.Equal(t, hosts[2].ID(), e.Peer.ID)
		require.ElementsMatch(t, hosts[2].Addrs(), e.Peer.Addrs)

		time.Sleep(time.Minute) // the pace of queries has slowed down
		until, leave := context.WithCancel(t.Context())
		states, err := NewClient(hosts[3], point).KeepRegistered(until, "n")
		require.NoError(t, err)
		begun := time.Now()
		e = <-events
		require.Equal(t, Joined, e.Type)
		require.Equal(t, hosts[3].ID(), e.Peer.ID)
		require.LessOrEqual(t, time.Since(begun), maxWatchInterval+time.Second)

		time.Sleep(time.Minute)
		leave()
		for range states { // until its goroutines have ended
		}
		begun = time.Now()
		e = <-events
		require.Equal(t, Left, e.Type)
		require.Equal(t, peer.AddrInfo{ID: hosts[3].ID()}, e.Peer)
		require.LessOrEqual(t, time.Since(begun), MaxTTL+2*time.Second)
		cancel()
		for range events {
			require.Fail(t, "Watch reports an event that did not happen")
		}
	})
}

// TestWatchIsWokenRarely: a peer that connects again and again does not make Watch ask the other
// points more often than it does while peers come and go.
func TestWatchIsWokenRarely(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 3)
			for _, h := range hosts[:2] {
				startPoint(t, h, testStorage(t), p.serve...)
			}
			sent := &requestCount{at: hosts[0].ID()}
			c := NewClient(hosts[2], WithPoints(info(hosts[0]), info(hosts[1])), p.speak, sent.option)
			ctx, cancel := context.WithCancel(t.Context())
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			const duration = 15 * time.Second
			flap(t, hosts[1], hosts[2], duration)
			t.Logf("beside a point that connects again and again: %d DISCOVERs in %v", sent.discovers.Load(), duration)
			require.LessOrEqual(t, sent.discovers.Load(), int64(duration/minWatchInterval)+1)
			cancel()
			for range events { // it ends
			}
		})
	})
}

// TestWatchesShareASubscription to the host's events, with each other and with what keeps the
// host registered. It ends with the last of them.
func TestWatchesShareASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		h := &countingHost{Host: hosts[1]}
		c := NewClient(h, WithPoints(info(hosts[0])))
		ctx, cancel := context.WithCancel(t.Context())
		states, err := c.KeepRegistered(ctx, "n")
		require.NoError(t, err)
		var watched []<-chan Event
		for _, ns := range namespaces(100) {
			events, err := c.Watch(ctx, ns)
			require.NoError(t, err)
			watched = append(watched, events)
		}
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, h.most.Load())
		cancel()
		for range states { // until it has ended
		}
		for _, events := range watched {
			for range events { // until it has ended
			}
		}
		require.Zero(t, h.subscriptions.Load())
	})
}

// leftWithin is how soon Watch reports that a peer has left which nothing keeps from leaving. Over
// the standard protocol, the peer unregisters, and Watch reads everything once a minute. Otherwise
// the TTL is rounded up to a second, and one may pass between two looks.
func (p spoken) leftWithin() time.Duration {
	if p.serve != nil {
		return time.Minute + maxWatchInterval + 2*time.Second
	}
	return MaxTTL + 2*minWatchInterval + time.Second/2
}

// TestSimulationWatch: the point is out of reach for five seconds, again and again, and now
// and then for a minute. No peer has left, and Watch reports none as gone. Then a peer leaves.
func TestSimulationWatch(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 4, 10*time.Millisecond)
			startPoint(t, sim.hosts[0], testStorage(t), p.serve...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			point := info(sim.hosts[0])
			keep(t, p.client(sim.hosts[1], point))
			until, leave := context.WithCancel(t.Context())
			states, err := p.client(sim.hosts[2], point).KeepRegistered(until, "n")
			require.NoError(t, err)
			time.Sleep(time.Second)
			events, err := p.client(sim.hosts[3], point).Watch(ctx, "n")
			require.NoError(t, err)
			for range 2 {
				require.Equal(t, Joined, (<-events).Type)
			}
			for i := range scaled(160, 40) {
				time.Sleep(40 * time.Second)
				off := 5 * time.Second
				if i%20 == 19 {
					off = time.Minute
				}
				sim.unplug(0, true)
				time.Sleep(off)
				sim.unplug(0, false)
				require.Empty(t, pending(events), "outage %d", i+1)
			}
			time.Sleep(time.Minute)
			require.Empty(t, pending(events))
			leave()
			for range states { // until its goroutines have ended
			}
			left := time.Now()
			e := <-events
			require.Equal(t, Left, e.Type)
			require.Equal(t, sim.hosts[2].ID(), e.Peer.ID)
			require.LessOrEqual(t, time.Since(left), p.leftWithin())
			cancel()
			for range events { // it ends
			}
		})
	})
}

// startWatched starts a point, on host 0, and watches "n" there, on host 1. The other hosts are for
// peers. end ends Watch.
func startWatched(t *testing.T, p spoken, peers int) (sim *simulation, storage Storage, events <-chan Event, end func()) {
	t.Helper()
	sim, storage = newSimulation(t, 2+peers, 10*time.Millisecond), testStorage(t)
	startPoint(t, sim.hosts[0], storage, p.serve...)
	ctx, cancel := context.WithCancel(t.Context())
	events, err := p.client(sim.hosts[1], info(sim.hosts[0])).Watch(ctx, "n")
	require.NoError(t, err)
	return sim, storage, events, func() {
		cancel()
		for range events { // it ends
		}
	}
}

// TestSimulationWatchAfterOutages: a peer joins while the point, or the watcher, is cut off for
// five seconds. Watch asks again as soon as the backoff allows, and reports the peer.
func TestSimulationWatchAfterOutages(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const point, watcher, outages = 0, 1, 12
			sim, storage, events, end := startWatched(t, p, outages)
			longest := make(map[int]time.Duration)
			for i, joiner := range sim.hosts[2:] {
				time.Sleep(40*time.Second + time.Duration(i)*700*time.Millisecond)
				require.Empty(t, pending(events))
				cut := []int{point, watcher}[i%2]
				sim.unplug(cut, true)
				time.Sleep(time.Second)
				keep(t, p.client(joiner, info(sim.hosts[point])))
				time.Sleep(4 * time.Second)
				sim.unplug(cut, false)
				for live(t, storage, "n") <= i {
					time.Sleep(10 * time.Millisecond)
				}
				there := time.Now()
				e := <-events
				require.Equal(t, Joined, e.Type)
				require.Equal(t, joiner.ID(), e.Peer.ID)
				longest[cut] = max(longest[cut], time.Since(there))
			}
			t.Logf("a peer that joins during an outage of 5 s is reported after at most %v if it was the point's, and %v if it was the watcher's", longest[point], longest[watcher])
			// After the point's outage, Watch may have asked just before the peer registered.
			require.LessOrEqual(t, longest[point], maxWatchInterval+time.Second)
			require.LessOrEqual(t, longest[watcher], 7*time.Second)
			end()
		})
	})
}

// TestSimulationWatchAfterLongOutages: a peer joins while the watcher is cut off for twenty to thirty
// seconds. Watch asks again as soon as the backoff allows, and reports the peer.
func TestSimulationWatchAfterLongOutages(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const point, watcher, outages = 0, 1, 11
			sim, storage, events, end := startWatched(t, p, outages)
			var longest time.Duration
			for i, joiner := range sim.hosts[2:] {
				time.Sleep(time.Minute)
				require.Empty(t, pending(events))
				sim.unplug(watcher, true)
				keep(t, p.client(joiner, info(sim.hosts[point])))
				time.Sleep(20*time.Second + time.Duration(i)*time.Second)
				require.Equal(t, i+1, live(t, storage, "n"))
				require.Empty(t, pending(events))
				sim.unplug(watcher, false)
				back := time.Now()
				e := <-events
				require.Equal(t, Joined, e.Type)
				require.Equal(t, joiner.ID(), e.Peer.ID)
				longest = max(longest, time.Since(back))
			}
			t.Logf("a peer that joins while the watcher is cut off for 20 to 30 s is reported at most %v later", longest)
			// A dial that is under way then may still fail, up to 2 s later. Then come the longest
			// backoff, of 6 s, and a request.
			require.LessOrEqual(t, longest, 9*time.Second)
			end()
		})
	})
}

// TestWatchMoved: a peer gets another address, and its old one is gone. Watch reports it with the
// new address, and not as one that left or joined.
func TestWatchMoved(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 3)
			startPoint(t, hosts[0], testStorage(t), p.serve...)
			mover := hosts[1]
			keep(t, p.client(mover, info(hosts[0])))
			time.Sleep(time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			events, err := p.client(hosts[2], info(hosts[0])).Watch(ctx, "n")
			require.NoError(t, err)
			require.Equal(t, Event{Joined, info(mover)}, <-events)
			for i := range 3 {
				time.Sleep(time.Minute) // the pace of queries has slowed down
				before := mover.Network().ListenAddresses()
				to := ma.StringCast("/ip4/" + simnet.IntToPublicIPv4(1000+i).String() + "/udp/8000/quic-v1")
				require.NoError(t, mover.Network().Listen(to))
				mover.Network().(interface{ ListenClose(...ma.Multiaddr) }).ListenClose(before...)
				moved := time.Now()
				select {
				case e := <-events:
					require.Equal(t, Event{Moved, peer.AddrInfo{ID: mover.ID(), Addrs: []ma.Multiaddr{to}}}, e)
				case <-time.After(time.Minute):
					require.FailNow(t, "nothing is reported")
				}
				t.Logf("reported at the new address after %v", time.Since(moved))
				require.LessOrEqual(t, time.Since(moved), maxWatchInterval+time.Second)
			}
			time.Sleep(2 * time.Minute)
			require.Empty(t, pending(events))
			cancel()
			for range events { // it ends
			}
		})
	})
}

// linesWith returns the log lines of a test whose message has a text.
func linesWith(l *logged, text string) (lines []slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line.Message, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// attribute returns an attribute of a log line as a text.
func attribute(line slog.Record, key string) (value string) {
	line.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value.String()
		}
		return a.Key != key
	})
	return value
}

// What the log says of silence.
const (
	noAddressLine = "this host has no address that others could use, so other peers cannot find this host"
	refusedLine   = "no rendezvous point takes this host's registrations, so other peers cannot find this host"
	silentLine    = "no rendezvous point answers searches, so this host finds nobody"
)

// TestSilenceIsLogged: the log says once a minute, with the reason, that no point answers
// searches and that none takes registrations. So does the state.
func TestSilenceIsLogged(t *testing.T) {
	for name, row := range map[string]struct {
		fail   func(sim *simulation, over <-chan struct{}) // what the point does, which is host 0
		back   func(sim *simulation)
		reason string
	}{
		"resets": {
			func(sim *simulation, _ <-chan struct{}) {
				hostilePoint(sim.hosts[0], func(st network.Stream, _ *pb.Message) { _ = st.Reset() })
			},
			func(*simulation) {}, network.ErrReset.Error(),
		},
		"does not answer": {
			func(sim *simulation, over <-chan struct{}) {
				hostilePoint(sim.hosts[0], func(network.Stream, *pb.Message) { <-over })
			},
			func(*simulation) {}, context.DeadlineExceeded.Error(),
		},
		"is out of reach": {
			func(sim *simulation, _ <-chan struct{}) { sim.unplug(0, true) },
			func(sim *simulation) { sim.unplug(0, false) }, "failed to dial",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lines := countLogs(t)
				sim := newSimulation(t, 2, 10*time.Millisecond)
				point, h := sim.hosts[0], sim.hosts[1]
				service := startPoint(t, point, testStorage(t))
				over, end := context.WithCancel(t.Context())
				ctx, cancel := context.WithCancel(t.Context())
				c := NewClient(h, WithPoints(info(point)))
				events, err := c.Watch(ctx, "n")
				require.NoError(t, err)
				states, err := c.KeepRegistered(ctx, "m")
				require.NoError(t, err)
				time.Sleep(time.Minute)
				require.NoError(t, (<-states).SearchErr)
				require.Empty(t, linesWith(lines, ""))

				service.Stop() // otherwise it answers on the streams that the client has kept
				row.fail(sim, over.Done())
				time.Sleep(5*time.Minute + 30*time.Second)
				for text, ns := range map[string]string{silentLine: "n", refusedLine: "m"} {
					found := linesWith(lines, text)
					require.InDelta(t, 5, len(found), 1)
					for i, line := range found {
						require.Equal(t, slog.LevelError, line.Level)
						require.Equal(t, ns, attribute(line, "namespace"))
						require.Contains(t, attribute(line, "error"), row.reason)
						if i > 0 {
							require.GreaterOrEqual(t, line.Time.Sub(found[i-1].Time), time.Minute)
						}
					}
				}
				require.Len(t, linesWith(lines, ""), len(linesWith(lines, silentLine))+len(linesWith(lines, refusedLine)))
				require.ErrorContains(t, c.SearchErr(), row.reason)
				s := <-states
				require.ErrorContains(t, s.SearchErr, row.reason)
				require.ErrorContains(t, s.Namespaces[0].Err, row.reason)

				end()
				row.back(sim)
				point.RemoveStreamHandler(RendezvousID_v001)
				startPoint(t, point, testStorage(t))
				until(t, states, 30*time.Second, func(s State) bool { return s.SearchErr == nil && s.Findable() })
				require.NoError(t, c.SearchErr())
				before := len(linesWith(lines, ""))
				time.Sleep(2 * time.Minute)
				require.Len(t, linesWith(lines, ""), before)
				cancel()
				for range states { // it ends
				}
				for range events { // it ends
				}
			})
		})
	}
}

// TestNoAddressIsLogged: the log says once a minute that a host has no address to register. No
// point is to blame.
func TestNoAddressIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := countLogs(t)
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		keep(t, NewClient(hosts[1], WithPoints(info(hosts[0])), WithAddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return nil })))
		time.Sleep(5*time.Minute + 30*time.Second)
		found := linesWith(lines, noAddressLine)
		require.InDelta(t, 6, len(found), 1)
		require.Len(t, linesWith(lines, ""), len(found), "no point has refused")
		require.Equal(t, "n", attribute(found[0], "namespace"))
		require.Equal(t, slog.LevelWarn, found[0].Level)
	})
}

// TestSilenceWithoutPoints: a host that knows no point, and searches as gossipsub does, logs
// that it finds nobody, and says why.
func TestSilenceWithoutPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := countLogs(t)
		hosts := simHosts(t, 2)
		c := NewClient(hosts[1])
		search := func(seconds int) {
			for range seconds {
				if found, err := c.FindPeers(t.Context(), "n"); err == nil {
					for range found { // until it has ended
					}
				}
				time.Sleep(time.Second)
			}
		}
		search(5*60 + 30)
		require.ErrorIs(t, c.SearchErr(), ErrNoPoints)
		found := linesWith(lines, silentLine)
		require.InDelta(t, 6, len(found), 1)
		for _, line := range found {
			require.Equal(t, ErrNoPoints.Error(), attribute(line, "error"))
			require.Equal(t, "n", attribute(line, "namespace"))
		}
		startPoint(t, hosts[0], testStorage(t))
		connect(t, hosts[1], hosts[0])
		search(10)
		require.NoError(t, c.SearchErr())
		require.Len(t, linesWith(lines, ""), len(found))
	})
}

// clashLine is what the log says of another host with this host's key.
const clashLine = "another host seems to use this host's key"

// TestKeyClashIsLogged: two hosts with one key and different addresses stay registered at a point,
// and search it or watch it. Each logs once that it is not alone, with the addresses of the other.
func TestKeyClashIsLogged(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		for name, search := range map[string]func(context.Context, *Client){
			"FindPeers": searchOnAndOn,
			"Watch": func(ctx context.Context, c *Client) {
				events, err := c.Watch(ctx, "n")
				require.NoError(t, err)
				for e := range events {
					require.Fail(t, "there are no others", "%v", e)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					lines := countLogs(t)
					sim := newSimulation(t, 2, 10*time.Millisecond)
					point, one := sim.hosts[0], sim.hosts[1]
					startPoint(t, point, testStorage(t), p.serve...)
					other := sim.addHost(t, nil, libp2p.Identity(one.Peerstore().PrivKey(one.ID())))
					require.Equal(t, one.ID(), other.ID())
					ctx, cancel := context.WithCancel(t.Context())
					var searching sync.WaitGroup
					for _, h := range []host.Host{one, other} {
						c := p.client(h, info(point))
						keep(t, c)
						searching.Go(func() { search(ctx, c) })
						time.Sleep(3 * time.Second)
					}
					time.Sleep(5*time.Minute + 30*time.Second)
					cancel()
					searching.Wait()
					of := make(map[string]int) // lines by the addresses in them
					for _, line := range linesWith(lines, clashLine) {
						require.Equal(t, slog.LevelError, line.Level)
						require.Equal(t, one.ID().String(), attribute(line, "peer"))
						of[attribute(line, "addresses")]++
					}
					require.Len(t, of, 2)
					require.Equal(t, 1, of[fmt.Sprint(one.Addrs())])
					require.Equal(t, 1, of[fmt.Sprint(other.Addrs())])
					require.Len(t, linesWith(lines, ""), len(linesWith(lines, clashLine)))
				})
			})
		}
	})
}

// searchOnAndOn searches "n" until ctx ends, as gossipsub does.
func searchOnAndOn(ctx context.Context, c *Client) {
	for ctx.Err() == nil {
		if found, err := c.FindPeers(ctx, "n"); err == nil {
			for range found { // until the search has ended
			}
		}
		time.Sleep(time.Second)
	}
}

// TestNoKeyClash: a host finds registrations of its own peer ID that are no longer right: of an
// earlier process, and of its earlier addresses at a point that does not take newer ones. Over the
// standard protocol they live for hours. No other host has made them, and it logs nothing.
func TestNoKeyClash(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			lines := countLogs(t)
			hosts := simHosts(t, 3)
			var refuses atomic.Bool
			points := []peer.AddrInfo{info(hosts[0]), info(hosts[1])}
			startPoint(t, hosts[0], testStorage(t), p.serve...)
			old := testStorage(t)
			startPoint(t, hosts[1], old, append(p.serve, WithAuthorizer(func(_ context.Context, r Request) error {
				if r.Register && refuses.Load() {
					return errors.New("no more")
				}
				return nil
			}))...)
			var port atomic.Int64 // of an address that changes
			newClient := func() *Client {
				port.Add(1)
				return NewClient(hosts[2], WithPoints(points...), p.speak, WithAddrsFactory(func(addrs []ma.Multiaddr) []ma.Multiaddr {
					return append(addrs, ma.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", port.Load())))
				}))
			}
			earlier := newClient()
			for _, point := range hosts[:2] {
				connect(t, hosts[2], point)
				_, err := earlier.Register(t.Context(), point.ID(), "n", 0)
				require.NoError(t, err)
			}

			c := newClient()
			ctx, cancel := context.WithCancel(t.Context())
			var searching sync.WaitGroup
			searching.Go(func() { searchOnAndOn(ctx, c) })
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			time.Sleep(2 * time.Minute) // in which it is not registered
			require.Equal(t, p.serve != nil, live(t, old, "n") == 1)
			states := keep(t, c)
			for range 10 {
				time.Sleep(20 * time.Second)
				port.Add(1)
			}
			time.Sleep(time.Minute)
			refuses.Store(true)
			port.Add(1)
			time.Sleep(5 * time.Minute)
			require.Equal(t, p.serve != nil, live(t, old, "n") == 1)
			require.True(t, (<-states).Findable())
			require.Empty(t, linesWith(lines, ""))
			cancel()
			searching.Wait()
			for e := range events {
				require.Fail(t, "there are no others", "%v", e)
			}
		})
	})
}

// pending returns the event that a channel has, if any.
func pending(events <-chan Event) (all []Event) {
	synctest.Wait()
	select {
	case e := <-events:
		return []Event{e}
	default:
		return nil
	}
}

// reserve makes a relay of a host, and returns the address of a point behind it.
func reserve(t testing.TB, relayHost, point host.Host) peer.AddrInfo {
	t.Helper()
	service, err := relay.New(relayHost)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.Close()) })
	_, err = relayclient.Reserve(t.Context(), point, info(relayHost))
	require.NoError(t, err)
	circuit := relayHost.Addrs()[0].String() + "/p2p/" + relayHost.ID().String() + "/p2p-circuit"
	return peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{ma.StringCast(circuit)}}
}

// TestWatchOverRelay: a relay lets 128 KiB through a connection, which is a part of the peers.
// After a while Watch has reported all of them, and none as gone.
func TestWatchOverRelay(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		for _, row := range []struct{ peers, addrs int }{{950, 1}, {300, 30}} {
			t.Run(fmt.Sprintf("%d addresses", row.addrs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { watchOverRelay(t, p, row.peers, row.addrs) })
			})
		}
	})
}

func watchOverRelay(t *testing.T, p spoken, peers, addrs int) {
	t.Helper()
	sim := newSimulation(t, 2, 10*time.Millisecond)
	point, storage := sim.hosts[1], testStorage(t)
	startPoint(t, point, storage, p.serve...)
	for range peers {
		key, id := newKey(t, crypto.Ed25519)
		var all []string
		for i := range addrs {
			all = append(all, fmt.Sprintf("/dns4/a-long-name-of-a-host.example.com/tcp/%d", 1+i))
		}
		require.NoError(t, storage.Add(t.Context(), Record{
			Namespace: "n", Peer: id, Envelope: seal(t, key, id, all...), Deadline: time.Now().Add(time.Hour),
		}, Quota{}))
	}
	sim.separate(1, addedHost)
	h := sim.addHost(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := p.client(h, reserve(t, sim.hosts[0], point)).Watch(ctx, "n")
	require.NoError(t, err)
	begun := time.Now()
	for i := range peers {
		select {
		case e := <-events:
			require.Equal(t, Joined, e.Type)
		case <-time.After(2 * time.Minute):
			require.Fail(t, "Watch is told of no more", "of %d peers", i)
		}
	}
	t.Logf("%d peers over a relay: all are known after %v", peers, time.Since(begun))
	require.Less(t, time.Since(begun), 5*time.Minute)
	time.Sleep(90 * time.Second) // in which each list is read again
	require.Empty(t, pending(events))
	cancel()
	for range events { // it ends
	}
}

// TestWatchOfShortAnswers: a point whose answers have fewer registrations than there are, and
// than Watch asks for. Watch reports all of them, and none as gone. Then some leave.
func TestWatchOfShortAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		storage := testStorage(t)
		startPoint(t, hosts[0], storage, WithMaxDiscoverLimit(20))
		fill(t, storage, "n", 100)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).Watch(ctx, "n")
		require.NoError(t, err)
		for begun := time.Now(); time.Since(begun) < 5*time.Minute; time.Sleep(time.Second) {
			for _, e := range allPending(events) {
				require.Equal(t, Joined, e.Type, "after %v", time.Since(begun))
			}
		}
		visit(t, storage, "n", 20) // which leave
		time.Sleep(15 * time.Second)
		joined := len(allPending(events))
		require.Positive(t, joined)
		time.Sleep(20 * time.Minute)
		left := allPending(events)
		require.Len(t, left, joined)
		require.Equal(t, Left, left[0].Type)
		cancel()
		for range events { // it ends
		}
	})
}

// visit registers n new peers for one TTL.
func visit(t testing.TB, s Storage, ns string, n int) {
	t.Helper()
	for range n {
		key, id := newKey(t, crypto.Ed25519)
		require.NoError(t, s.Add(t.Context(), Record{
			Namespace: ns,
			Peer:      id,
			Envelope:  seal(t, key, id, addr),
			Deadline:  time.Now().Add(MaxTTL + grace),
		}, Quota{}))
	}
}

// TestWatchSlowReader: a slow reader gets the present state. Missed events take no more
// memory than one per peer.
func TestWatchSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		storage := testStorage(t)
		startPoint(t, hosts[0], storage)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).Watch(ctx, "n")
		require.NoError(t, err)
		for range 20 { // two hundred peers come and go
			visit(t, storage, "n", 10)
			time.Sleep(30 * time.Second)
		}
		visit(t, storage, "n", 3)
		time.Sleep(10 * time.Second)
		present := make(map[peer.ID]bool)
		for range 3 {
			e := <-events
			require.Equal(t, Joined, e.Type)
			present[e.Peer.ID] = true
		}
		require.Len(t, present, 3, "peers that came and went are not reported")
		time.Sleep(30 * time.Second)
		for range 3 {
			e := <-events
			require.Equal(t, Left, e.Type)
			delete(present, e.Peer.ID)
		}
		require.Empty(t, present)
		cancel()
		for range events { // it ends
		}
	})
}

// TestWatchInterval: points are asked less often while nothing changes.
func TestWatchInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		queries := make(chan struct{}, 1000)
		answer := sending(t, registrations())
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			queries <- struct{}{}
			answer(st, m)
		})
		ctx, cancel := context.WithCancel(t.Context())
		events, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).Watch(ctx, "n")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.GreaterOrEqual(t, len(queries), 4)
		time.Sleep(50 * time.Second)
		for len(queries) > 0 {
			<-queries
		}
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, len(queries), 7)
		require.LessOrEqual(t, len(queries), 11)
		cancel()
		for range events { // it ends
		}
	})
}
