package points

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/stretchr/testify/require"
)

// listen returns the wake-ups of a set to come, until the test ends.
func listen(t *testing.T, s *Set) <-chan bool {
	t.Helper()
	woken := make(chan bool, 100)
	l, err := s.Listen(func(slept bool) { woken <- slept })
	require.NoError(t, err)
	t.Cleanup(func() { <-l.Stop() })
	time.Sleep(time.Second) // the bus begins with the last change of the addresses
	for len(woken) > 0 {
		require.False(t, <-woken)
	}
	return woken
}

// emit sends an event on a host's bus, as its parts do.
func emit(t *testing.T, h host.Host, e any, typ any) {
	t.Helper()
	emitter, err := h.EventBus().Emitter(typ)
	require.NoError(t, err)
	require.NoError(t, emitter.Emit(e))
	require.NoError(t, emitter.Close())
}

// requireWakeup checks that there was one wake-up, not by sleep.
func requireWakeup(t *testing.T, woken <-chan bool) {
	t.Helper()
	time.Sleep(time.Second)
	require.Len(t, woken, 1)
	require.False(t, <-woken)
}

// TestWakeups come once for what happens together, and not for what does not matter.
func TestWakeups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2)
		stranger := b.hosts[1]
		s := namedSet(b.client, info(b.hosts[0]))
		woken := listen(t, s)

		for range 5 {
			emit(t, b.client, event.EvtLocalAddressesUpdated{}, new(event.EvtLocalAddressesUpdated))
			time.Sleep(settleTime / 10)
		}
		requireWakeup(t, woken)

		connect(t, b.client, b.hosts[0])
		requireWakeup(t, woken)

		connect(t, b.client, stranger)
		time.Sleep(time.Second)
		require.Empty(t, woken)

		s.SetNamed(infos(stranger))
		s.SetNamed(infos(stranger))
		requireWakeup(t, woken)

		require.NoError(t, b.client.Network().ClosePeer(stranger.ID()))
		time.Sleep(time.Hour)
		require.Empty(t, woken)
	})
}

// TestWakeupsByStrangers that turn out to be points.
func TestWakeupsByStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := newSimulation(t, 2).hosts
		s := speakerSet(hosts[0])
		woken := listen(t, s)
		connect(t, hosts[0], hosts[1])
		time.Sleep(time.Second)
		require.Empty(t, woken)
		serve(hosts[1], answering(yes))
		requireWakeup(t, woken)
	})
}

// TestWakeupsForgive a point that identifies itself anew.
func TestWakeupsForgive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		b.behave(resetting, p)
		woken := listen(t, b.set)
		require.Error(t, sayHello(t.Context(), p))
		require.True(t, p.inBackoff())
		b.hosts[0].RemoveStreamHandler(testProtocol)
		time.Sleep(100 * time.Millisecond)
		serve(b.hosts[0], answering(yes))
		time.Sleep(100 * time.Millisecond)
		require.False(t, p.inBackoff())
		requireWakeup(t, woken)
	})
}

// TestWakeupAfterSleep is told by the wall clock, and tells small steps of it from sleep.
func TestWakeupAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(newSimulation(t, 1).hosts[0])
		var slept atomic.Int64 // nanoseconds
		c.WallClock = func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) }
		woken := listen(t, New(c))
		time.Sleep(time.Hour + sleepInterval/2)
		require.Empty(t, woken)
		for range 5 {
			slept.Add(int64(minSleep / 2))
			time.Sleep(2 * sleepInterval)
		}
		slept.Add(-int64(time.Hour))
		time.Sleep(2 * sleepInterval)
		require.Empty(t, woken)
		slept.Add(int64(5 * time.Second))
		time.Sleep(2 * sleepInterval)
		require.Len(t, woken, 1, "once")
		require.True(t, <-woken)
	})
}

// TestListeners are each told of what happens, until they stop.
func TestListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		var told [3]atomic.Int64
		var all []*Listener
		for i := range told {
			l, err := b.set.Listen(func(bool) { told[i].Add(1) })
			require.NoError(t, err)
			all = append(all, l)
		}
		happen := func(want ...int64) {
			t.Helper()
			time.Sleep(time.Second)
			for i := range told {
				told[i].Store(0)
			}
			emit(t, b.client, event.EvtLocalAddressesUpdated{}, new(event.EvtLocalAddressesUpdated))
			time.Sleep(time.Second)
			for i := range told {
				require.Equal(t, want[i], told[i].Load())
			}
		}
		happen(1, 1, 1)
		<-all[1].Stop()
		happen(1, 0, 1)
		<-all[0].Stop()
		<-all[2].Stop()
		happen(0, 0, 0)
		l, err := b.set.Listen(func(bool) { told[0].Add(1) })
		require.NoError(t, err, "after the last one")
		happen(1, 0, 0)
		<-l.Stop()
	})
}

// waitingBus is a host's event bus whose Subscribe waits, as it does while the host waits until
// another subscriber has taken an event.
type waitingBus struct {
	event.Bus
	asked chan struct{} // receives when Subscribe begins to wait
	over  chan struct{} // closed to let it return
}

func (b waitingBus) Subscribe(types any, opts ...event.SubscriptionOpt) (event.Subscription, error) {
	b.asked <- struct{}{}
	<-b.over
	return b.Bus.Subscribe(types, opts...)
}

// TestListenBlocksNoWakeUp: while the first listener subscribes to the host's events, the goroutine
// of earlier listeners can go on, as the bus may wait for it.
func TestListenBlocksNoWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		bus := waitingBus{b.client.EventBus(), make(chan struct{}), make(chan struct{})}
		config := b.set.config
		config.Host = busHost{b.client, bus}
		ls := &b.set.listeners
		l := &Listener{ls, func(bool) {}}
		added := make(chan error, 1)
		go func() {
			added <- ls.add(l, func() (*wakeups, error) {
				return newWakeups(&config, b.set)
			})
		}()
		<-bus.asked
		free := ls.mu.TryLock() // what ls.wake needs
		if free {
			ls.mu.Unlock()
		}
		close(bus.over)
		require.NoError(t, <-added)
		require.True(t, free)
		<-l.Stop()
	})
}

// busHost is a host with another event bus.
type busHost struct {
	host.Host
	bus event.Bus
}

func (h busHost) EventBus() event.Bus { return h.bus }

// TestListenersAtTheSameTime: listeners come and go, and the goroutine ends with the last one.
func TestListenersAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		var running sync.WaitGroup
		for range 20 {
			running.Go(func() {
				for range 20 {
					l, err := b.set.Listen(func(bool) {})
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(rand.N(3)) * time.Millisecond)
					l.Stop()
				}
			})
		}
		running.Wait()
		require.Empty(t, b.set.listeners.all)
		<-b.set.listeners.ended
	})
}
