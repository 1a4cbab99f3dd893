package rendezvous

// Simulations in virtual time of hosts in many namespaces, at points with their default
// limits.

import (
	"context"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// namespaces returns n names.
func namespaces(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "namespace "+strconv.Itoa(i))
	}
	return all
}

// storagesOf starts a point on each host and returns their storages.
func storagesOf(t testing.TB, points []host.Host, opts ...ServiceOption) (infos []peer.AddrInfo, storages []Storage) {
	t.Helper()
	for _, h := range points {
		s := testStorage(t)
		startPoint(t, h, s, opts...)
		infos, storages = append(infos, info(h)), append(storages, s)
	}
	return infos, storages
}

// peersIn returns the peers that a storage has in a namespace.
func peersIn(t testing.TB, s Storage, ns string) map[peer.ID]bool {
	t.Helper()
	records, err := s.Sample(t.Context(), ns, MaxDiscoverLimit, 0)
	require.NoError(t, err)
	all := make(map[peer.ID]bool)
	for _, r := range records {
		all[r.Peer] = true
	}
	return all
}

// registeredIn counts the namespaces in which a peer is registered at each of the points.
func registeredIn(t testing.TB, p peer.ID, namespaces []string, storages []Storage) (n int) {
	t.Helper()
	for _, ns := range namespaces {
		everywhere := true
		for _, s := range storages {
			everywhere = everywhere && peersIn(t, s, ns)[p]
		}
		if everywhere {
			n++
		}
	}
	return n
}

// TestSimulationManyNamespaces: a host registers in hundreds of namespaces at points with
// their default limits, and searches a quarter of them every second, so that there are more
// requests than the points' limits allow. After the first minute, it is registered in nearly all
// of them at each of the points, at every look.
func TestSimulationManyNamespaces(t *testing.T) { inEachProtocol(t, testManyNamespaces) }

func testManyNamespaces(t *testing.T, p spoken) {
	t.Helper()
	for _, c := range []struct{ namespaces, points int }{{600, 1}, {1000, 2}}[:scaled(2, 1)] {
		t.Run(strconv.Itoa(c.namespaces), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, c.points+1, 25*time.Millisecond)
				infos, storages := storagesOf(t, sim.hosts[:c.points], p.serve...)
				all := namespaces(c.namespaces)
				ctx, cancel := context.WithCancel(t.Context())
				client := p.client(sim.hosts[c.points], infos...)
				states, err := client.KeepRegistered(ctx, all...)
				require.NoError(t, err)
				searched := searchAll(ctx, client, all[:c.namespaces/4])
				begun := time.Now()
				for registeredIn(t, sim.hosts[c.points].ID(), all, storages) < c.namespaces && time.Since(begun) < time.Minute {
					time.Sleep(time.Second)
				}
				t.Logf("%d namespaces at %d points: registered in all of them after %v", c.namespaces, c.points, time.Since(begun))
				time.Sleep(time.Until(begun.Add(time.Minute)))
				fewest := c.namespaces
				for range scaled(60, 15) {
					time.Sleep(2 * time.Second)
					fewest = min(fewest, registeredIn(t, sim.hosts[c.points].ID(), all, storages))
				}
				t.Logf("after the first minute: in at least %.2f %% of them", 100*float64(fewest)/float64(c.namespaces))
				require.GreaterOrEqual(t, float64(fewest), 0.999*float64(c.namespaces))
				cancel()
				searched()
				for range states { // until all its goroutines have ended
				}
			})
		})
	}
}

// searchAll searches each of some namespaces every second until ctx ends. wait returns then.
func searchAll(ctx context.Context, c *Client, namespaces []string) (wait func()) {
	var searching sync.WaitGroup
	for _, ns := range namespaces {
		searching.Go(func() {
			for ctx.Err() == nil {
				if found, err := c.FindPeers(ctx, ns); err == nil {
					for range found { // until the search has ended
					}
				}
				time.Sleep(time.Second)
			}
		})
	}
	return searching.Wait
}

// TestSimulationManyPeers: a thousand peers are registered in a hundred namespaces at three
// points. Each is registered all the time, and finds the nine others of its namespace.
func TestSimulationManyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const points = 3
		peers, spaces := scaled(1000, 100), scaled(100, 10)
		defer debug.SetGCPercent(debug.SetGCPercent(400))
		sim := newSimulation(t, points+peers, 50*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts[:points])
		all := namespaces(spaces)
		ctx, cancel := context.WithCancel(t.Context())
		var clients []*Client
		var calls []<-chan State
		for i, h := range sim.hosts[points:] {
			c := NewClient(h, WithPoints(infos...))
			states, err := c.KeepRegistered(ctx, all[i%spaces])
			require.NoError(t, err)
			clients, calls = append(clients, c), append(calls, states)
		}
		byPoint := make(map[peer.ID]Storage)
		var ids []peer.ID
		for i, point := range infos {
			byPoint[point.ID], ids = storages[i], append(ids, point.ID)
		}
		count := func() (registered int) { // each peer at each of the two points of its namespace
			for first, ns := range all {
				for _, point := range rankPoints(slices.Clone(ids), ns)[:2] {
					there := peersIn(t, byPoint[point], ns)
					for i := first; i < peers; i += spaces {
						if there[sim.hosts[points+i].ID()] {
							registered++
						}
					}
				}
			}
			return registered
		}
		time.Sleep(10 * time.Second)
		fewest := 2 * peers
		for range 40 {
			time.Sleep(time.Second)
			fewest = min(fewest, count())
		}
		found := 0
		for i, c := range clients {
			found += len(drain(t, c, all[i%spaces]))
		}
		t.Logf("%d peers in %d namespaces at %d points: at least %.2f %% registered at any time, %.2f %% found", peers, spaces, points,
			100*float64(fewest)/float64(2*peers), 100*float64(found)/float64(peers*(peers/spaces-1)))
		require.GreaterOrEqual(t, float64(fewest), 0.999*float64(2*peers))
		require.GreaterOrEqual(t, float64(found), 0.999*float64(peers*(peers/spaces-1)))
		cancel()
		for _, states := range calls {
			for range states { // until its goroutines have ended
			}
		}
	})
}

// TestSimulationClockSetBack: a peer restarts at another address, with its clock set back, so
// that its new record has a lower sequence number. It is soon found at the new address, and
// at no other.
func TestSimulationClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 3, 20*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts[:2])
		key, id := newKey(t, crypto.Ed25519)
		register := func(seq uint64, addr string) {
			rec := &peer.PeerRecord{PeerID: id, Seq: seq, Addrs: []ma.Multiaddr{ma.StringCast(addr)}}
			for _, s := range storages {
				require.NoError(t, s.Add(t.Context(), Record{Namespace: "n", Peer: id, Envelope: sealRecord(t, key, rec), Deadline: time.Now().Add(MaxTTL)}, Quota{}))
			}
		}
		d := NewRendezvousDiscovery(sim.hosts[2], WithPoints(infos...))
		addrs := func() (all []string) {
			found, err := d.FindPeers(t.Context(), "n")
			require.NoError(t, err)
			for p := range found {
				for _, a := range p.Addrs {
					all = append(all, a.String())
				}
			}
			return all
		}
		const before, after = "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.5/tcp/1"
		for range 10 {
			register(1<<40, before)
			require.Eventually(t, func() bool { return slices.Equal(addrs(), []string{before}) }, 5*time.Second, time.Second)
			register(1, after)
			moved := time.Now()
			for !slices.Equal(addrs(), []string{after}) {
				require.Less(t, time.Since(moved), MaxTTL)
				time.Sleep(100 * time.Millisecond)
			}
			t.Logf("a clock was set back: found at the new address alone after %v", time.Since(moved))
			require.LessOrEqual(t, time.Since(moved), 3*time.Second)
		}
	})
}

// TestSimulationManyTopics: gossipsub nodes with a hundred topics, which search in each of
// them every second because their meshes stay thin, remain registered in nearly all.
func TestSimulationManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const points, nodes = 2, 2
		topics := scaled(100, 30)
		sim := newSimulation(t, points+nodes, 25*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts[:points])
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all []string
		for i := range topics {
			all = append(all, "floodsub:topic "+strconv.Itoa(i))
		}
		for _, h := range sim.hosts[points:] {
			ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(NewRendezvousDiscovery(h, WithPoints(infos...))))
			require.NoError(t, err)
			for i := range topics {
				topic, err := ps.Join("topic " + strconv.Itoa(i))
				require.NoError(t, err)
				_, err = topic.Subscribe()
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Minute)
		fewest := topics
		for range scaled(60, 30) {
			time.Sleep(2 * time.Second)
			for _, h := range sim.hosts[points:] {
				fewest = min(fewest, registeredIn(t, h.ID(), all, storages))
			}
		}
		t.Logf("%d gossipsub topics: after the first minute, registered in at least %d of them", topics, fewest)
		require.GreaterOrEqual(t, float64(fewest), 0.999*float64(topics))
		time.Sleep(500 * time.Millisecond) // pubsub searches at full seconds, and would not end then
	})
}
