package rendezvous

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/points"
)

// streamCounter counts the streams that a host opens.
type streamCounter struct {
	host.Host
	opened atomic.Int64
}

func (h *streamCounter) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	h.opened.Add(1)
	return h.Host.NewStream(ctx, p, ids...)
}

// TestRefreshesShareAStream: a host in ten namespaces refreshes its registrations at each of two
// points over one stream, which it keeps.
func TestRefreshesShareAStream(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 25*time.Millisecond)
			infos, storages := storagesOf(t, sim.hosts[:2], p.serve...)
			h := &streamCounter{Host: sim.hosts[2]}
			refreshes := new(registerTimes)
			c := NewClient(h, WithPoints(infos...), p.speak, func(c *clientConfig) error {
				c.metrics = refreshes
				return nil
			})
			all := namespaces(10)
			ctx, cancel := context.WithCancel(t.Context())
			states, err := c.KeepRegistered(ctx, all...)
			require.NoError(t, err)
			time.Sleep(20 * time.Minute) // registrations of hours are refreshed every five minutes
			refreshes.take()
			h.opened.Store(0)
			const length = time.Hour
			time.Sleep(length)
			n := len(refreshes.take())
			t.Logf("%d refreshes in %v, %d new streams", n, length, h.opened.Load())
			require.GreaterOrEqual(t, n, 2*10*11)
			// A stream rests for 25 seconds at most.
			require.LessOrEqual(t, h.opened.Load(), int64(n/10))
			require.Equal(t, 10, registeredIn(t, h.ID(), all, storages))
			cancel()
			for range states { // until its goroutines have ended
			}
		})
	})
}

// TestRefreshesAtASlowPoint: the only point needs four seconds for each refresh. It is not taken
// for a failing one, and the host stays registered.
func TestRefreshesAtASlowPoint(t *testing.T) {
	for name, n := range map[string]int{"one namespace": 1, "three namespaces": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, 2, 25*time.Millisecond)
				slow := &lateStorage{Storage: testStorage(t)}
				startPoint(t, sim.hosts[0], slow)
				all := namespaces(n)
				ctx, cancel := context.WithCancel(t.Context())
				states, err := NewClient(sim.hosts[1], WithPoints(info(sim.hosts[0]))).KeepRegistered(ctx, all...)
				require.NoError(t, err)
				until(t, states, 5*time.Second, State.Findable)
				slow.delay.Store(int64(4 * time.Second))
				for begun := time.Now(); time.Since(begun) < 5*time.Minute; time.Sleep(time.Second) {
					require.Equal(t, n, registeredIn(t, sim.hosts[1].ID(), all, []Storage{slow.Storage}))
				}
				cancel()
				for range states { // until its goroutines have ended
				}
				time.Sleep(5 * time.Second) // until the point has ended
			})
		})
	}
}

// lateStorage takes a while for each registration.
type lateStorage struct {
	Storage
	delay atomic.Int64 // a duration
}

func (s *lateStorage) Add(ctx context.Context, r Record, q Quota) error {
	time.Sleep(time.Duration(s.delay.Load()))
	return s.Storage.Add(ctx, r, q)
}

// TestSlowPointDelaysNoFirstRegistration: a namespace is registered for the first time at the
// moment when the registrations of others are refreshed at a slow point. It does not wait for
// that.
func TestSlowPointDelaysNoFirstRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 3, 25*time.Millisecond)
		slow := &lateStorage{Storage: testStorage(t)}
		startPoint(t, sim.hosts[0], slow)
		startPoint(t, sim.hosts[1], testStorage(t))
		infos := []peer.AddrInfo{info(sim.hosts[0]), info(sim.hosts[1])}
		atSlow, atOther := namespacesAt(infos, infos[0].ID, 2), namespacesAt(infos, infos[1].ID, 1)
		c := NewClient(sim.hosts[2], WithPoints(infos...), WithRedundancy(1))
		ctx, cancel := context.WithCancel(t.Context())
		advertise := func(ns string) {
			_, err := c.Advertise(ctx, ns)
			require.NoError(t, err)
		}
		for _, ns := range atSlow {
			advertise(ns)
		}
		earliest, _ := points.RefreshWindow(DefaultTTL)
		time.Sleep(earliest + time.Second/2)
		slow.delay.Store(int64(2 * time.Second))
		var refreshes sync.WaitGroup
		for _, ns := range atSlow {
			refreshes.Go(func() { advertise(ns) })
		}
		synctest.Wait() // for these calls to wait
		begun := time.Now()
		advertise(atOther[0])
		took := time.Since(begun)
		refreshes.Wait()
		cancel()
		time.Sleep(5 * time.Second) // until all goroutines have ended
		require.Less(t, took, time.Second)
	})
}

// namespacesAt returns n namespaces whose peers prefer a point.
func namespacesAt(infos []peer.AddrInfo, point peer.ID, n int) (found []string) {
	var ids []peer.ID
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	for _, ns := range namespaces(1000) {
		if len(found) < n && rankPoints(slices.Clone(ids), ns)[0] == point {
			found = append(found, ns)
		}
	}
	return found
}
