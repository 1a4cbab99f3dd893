package rendezvous

// Simulations in virtual time of hosts in many namespaces, at points with their default
// limits.

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
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
func storagesOf(t testing.TB, points []host.Host) (infos []peer.AddrInfo, storages []Storage) {
	t.Helper()
	for _, h := range points {
		s := testStorage(t)
		startPoint(t, h, s)
		infos, storages = append(infos, info(h)), append(storages, s)
	}
	return infos, storages
}

// registeredIn counts the namespaces in which a peer is registered at each of the points.
func registeredIn(t testing.TB, p peer.ID, namespaces []string, storages []Storage) (n int) {
	t.Helper()
	for _, ns := range namespaces {
		everywhere := true
		for _, s := range storages {
			here := false
			records, err := s.Sample(t.Context(), ns, MaxDiscoverLimit, 0)
			require.NoError(t, err)
			for _, r := range records {
				here = here || r.Peer == p
			}
			everywhere = everywhere && here
		}
		if everywhere {
			n++
		}
	}
	return n
}

// TestSimulationManyNamespaces: a host registers in hundreds of namespaces at points with
// their default limits. After the first minute, it is registered in nearly all of them at
// each of the points, at every look.
func TestSimulationManyNamespaces(t *testing.T) {
	for _, c := range []struct{ namespaces, points int }{{600, 1}, {1000, 2}} {
		t.Run(strconv.Itoa(c.namespaces), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, c.points+1, 25*time.Millisecond)
				infos, storages := storagesOf(t, sim.hosts[:c.points])
				all := namespaces(c.namespaces)
				ctx, cancel := context.WithCancel(t.Context())
				states, err := NewClient(sim.hosts[c.points], WithPoints(infos...)).KeepRegistered(ctx, all...)
				require.NoError(t, err)
				begun := time.Now()
				for registeredIn(t, sim.hosts[c.points].ID(), all, storages) < c.namespaces && time.Since(begun) < time.Minute {
					time.Sleep(time.Second)
				}
				t.Logf("%d namespaces at %d points: registered in all of them after %v", c.namespaces, c.points, time.Since(begun))
				time.Sleep(time.Until(begun.Add(time.Minute)))
				fewest := c.namespaces
				for range 60 {
					time.Sleep(2 * time.Second)
					fewest = min(fewest, registeredIn(t, sim.hosts[c.points].ID(), all, storages))
				}
				t.Logf("after the first minute: in at least %.2f %% of them", 100*float64(fewest)/float64(c.namespaces))
				require.GreaterOrEqual(t, float64(fewest), 0.999*float64(c.namespaces))
				cancel()
				for range states { // until all its goroutines have ended
				}
			})
		})
	}
}

// TestSimulationManyTopics: gossipsub nodes with a hundred topics, which search in each of
// them every second because their meshes stay thin, remain registered in nearly all.
func TestSimulationManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics, points, nodes = 100, 2, 2
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
		for range 60 {
			time.Sleep(2 * time.Second)
			for _, h := range sim.hosts[points:] {
				fewest = min(fewest, registeredIn(t, h.ID(), all, storages))
			}
		}
		t.Logf("%d gossipsub topics: after the first minute, registered in at least %d of them", topics, fewest)
		require.GreaterOrEqual(t, float64(fewest), 0.999*topics)
		time.Sleep(500 * time.Millisecond) // pubsub searches at full seconds, and would not end then
	})
}
