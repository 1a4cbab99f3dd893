package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// keep keeps the host of a client registered in "n" until the test ends.
func keep(t testing.TB, c *Client) <-chan State {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	states, err := c.KeepRegistered(ctx, "n")
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		for range states { // until all goroutines have ended
		}
	})
	return states
}

// until reads states up to the first that fulfils a condition.
func until(t testing.TB, states <-chan State, within time.Duration, wanted func(State) bool) State {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case s := <-states:
			if wanted(s) {
				return s
			}
		case <-late:
			require.FailNow(t, "no such state in time")
		}
	}
}

func live(t testing.TB, s Storage, ns string) int {
	t.Helper()
	records, err := s.Sample(t.Context(), ns, MaxDiscoverLimit, 0)
	require.NoError(t, err)
	return len(records)
}

// TestLapse: the state says at once that the last registration in a namespace has ended, although
// nothing else changes then.
func TestLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point, h := hosts[0], hosts[1]
		service := startPoint(t, point, testStorage(t))
		connect(t, h, point)
		ctx, cancel := context.WithCancel(t.Context())
		states, err := NewClient(h, WithPoints(info(point))).KeepRegistered(ctx, "n")
		require.NoError(t, err)
		s := until(t, states, time.Second, State.Findable)
		ends := s.Namespaces[0].Points[0].Until
		service.Stop()
		require.NoError(t, point.Close())
		for s.Findable() {
			s = <-states
		}
		require.Less(t, time.Since(ends), 2*publishInterval)
		cancel()
		for range states { // it ends
		}
	})
}

// TestKeepRegistered: the client starts before any point is known. It stays registered for
// an hour, recovers from an absence of the point, and ends with its context.
func TestKeepRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point, h := hosts[0], hosts[1]
		storage := testStorage(t)
		service := startPoint(t, point, storage)
		ctx, cancel := context.WithCancel(t.Context())
		states, err := NewClient(h).KeepRegistered(ctx, "n", "m", "n")
		require.NoError(t, err)

		s := <-states
		require.False(t, s.Findable())
		require.Len(t, s.Namespaces, 2, "each once")
		if s.Namespaces[0].Err == nil || s.Namespaces[1].Err == nil { // no attempt has failed yet
			s = until(t, states, time.Second, func(s State) bool { return s.Namespaces[0].Err != nil && s.Namespaces[1].Err != nil })
		}
		require.ErrorIs(t, s.Namespaces[1].Err, ErrNoPoints)
		require.ErrorIs(t, s.Namespaces[0].Err, ErrNoPoints)

		connect(t, h, point)
		s = until(t, states, time.Second, State.Findable)
		require.Equal(t, "n", s.Namespaces[0].Namespace)
		require.Equal(t, "m", s.Namespaces[1].Namespace)
		at := s.Namespaces[0].Points[0]
		require.Equal(t, point.ID(), at.Point)
		require.NoError(t, at.Err)
		require.InDelta(t, MaxTTL, time.Until(at.Until), float64(time.Second))

		for range 3600 { // nobody reads the states
			time.Sleep(time.Second)
			require.Equal(t, 1, live(t, storage, "n"))
		}
		require.True(t, (<-states).Findable(), "the newest state is given, not the oldest")

		service.Stop()
		until(t, states, 2*MaxTTL, func(s State) bool { return !s.Findable() && s.Namespaces[0].Err != nil })
		time.Sleep(time.Hour)
		require.NoError(t, service.Start())
		until(t, states, time.Second, State.Findable) // identify reports that the point is back

		cancel()
		for range states { // it ends
		}
		time.Sleep(MaxTTL + 2*time.Second)
		require.Zero(t, live(t, storage, "n"))
	})
}

// TestKeepRegisteredLastState: the last state says what holds when the context ends, also if that is
// so soon after the first registration that no state was due, and whether anybody reads or not.
func TestKeepRegisteredLastState(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 2)
			storage := testStorage(t)
			startPoint(t, hosts[0], storage)
			connect(t, hosts[1], hosts[0])
			ctx, cancel := context.WithCancel(t.Context())
			states, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).KeepRegistered(ctx, "n")
			require.NoError(t, err)
			if reads {
				require.False(t, (<-states).Findable())
			}
			time.Sleep(publishInterval - time.Millisecond)
			require.Equal(t, 1, live(t, storage, "n"))
			cancel()
			var last State
			for s := range states {
				last = s
			}
			require.Len(t, last.Namespaces, 1)
			require.True(t, last.Findable())
		})
	}
}

// TestKeepRegisteredRefreshes: the client refreshes at a little over half the TTL,
// whatever TTL a point grants, and not much more often.
func TestKeepRegisteredRefreshes(t *testing.T) {
	for granted, bounds := range map[time.Duration][2]time.Duration{
		20 * time.Second: {9 * time.Second, 12 * time.Second},
		10 * time.Second: {4500 * time.Millisecond, 6 * time.Second},
		time.Second:      {minRefresh - time.Second, minRefresh},
		0:                {9 * time.Second, 12 * time.Second}, // an invalid TTL
	} {
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 2)
			requests := make(chan time.Time, 100)
			hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
				requests <- time.Now()
				sending(t, registerResponse(granted))(st, m)
			})
			keep(t, NewClient(hosts[1], WithPoints(info(hosts[0]))))
			last := <-requests
			for range 10 {
				next := <-requests
				require.GreaterOrEqual(t, next.Sub(last), bounds[0]-100*time.Millisecond, "granted %v", granted)
				require.LessOrEqual(t, next.Sub(last), bounds[1]+100*time.Millisecond, "granted %v", granted)
				last = next
			}
		})
	}
}

// TestKeepRegisteredWithoutAddresses: a host without addresses has a state of its own,
// which ends when it gets some.
func TestKeepRegisteredWithoutAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		storage := testStorage(t)
		startPoint(t, hosts[0], storage)
		var usable atomic.Bool
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithAddrsFactory(func(addrs []ma.Multiaddr) []ma.Multiaddr {
			if usable.Load() {
				return addrs
			}
			return nil
		}))
		states := keep(t, c)
		s := until(t, states, time.Second, func(s State) bool { return s.Namespaces[0].Err != nil })
		require.ErrorIs(t, s.Namespaces[0].Err, ErrNoAddresses)
		require.False(t, s.Findable())
		time.Sleep(time.Minute)
		require.Len(t, c.asker.points.Choose("n"), 1)
		require.False(t, c.asker.points.Choose("n")[0].Gone(), "no point is to blame")
		require.Zero(t, live(t, storage, "n"))
		usable.Store(true)
		until(t, states, 2*time.Second, State.Findable)
		require.Equal(t, 1, live(t, storage, "n"))
	})
}

// TestKeepRegisteredOfADialer: a host that listens nowhere has a reason of its own, which says
// nothing about the points.
func TestKeepRegisteredOfADialer(t *testing.T) {
	lines := countLogs(t)
	point := newHost(t)
	startPoint(t, point, testStorage(t))
	h := newHost(t, libp2p.NoListenAddrs)
	c := NewClient(h, WithPoints(info(point)))
	c.registrar.shared.created = time.Now().Add(-DefaultTTL) // it has not been registered for long
	ctx, cancel := context.WithCancel(t.Context())
	states, err := c.KeepRegistered(ctx, "n")
	require.NoError(t, err)
	s := until(t, states, 10*time.Second, func(s State) bool { return s.Namespaces[0].Err != nil })
	require.ErrorIs(t, s.Namespaces[0].Err, ErrNoAddresses)
	require.Eventually(t, func() bool { return len(linesWith(lines, "")) > 0 }, 10*time.Second, 10*time.Millisecond)
	cancel()
	for range states { // it ends
	}
	require.Len(t, linesWith(lines, ""), 1)
	require.Equal(t, slog.LevelWarn, linesWith(lines, noAddressLine)[0].Level)
}

// TestKeepRegisteredAfterSleep: a machine cannot know how long it has slept. Its
// registrations are made anew when it wakes.
func TestKeepRegisteredAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		requests := make(chan time.Time, 100)
		answer := sending(t, registerResponse(DefaultTTL))
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			requests <- time.Now()
			answer(st, m)
		})
		var slept atomic.Int64
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), func(c *clientConfig) error {
			c.wallClock = func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) }
			return nil
		})
		states := keep(t, c)
		<-requests
		until(t, states, time.Second, State.Findable)
		time.Sleep(3 * time.Second)
		require.Empty(t, requests)
		slept.Store(int64(time.Hour))
		time.Sleep(2 * time.Second)
		require.Len(t, requests, 1, "one request, at once")
	})
}

// TestWallClockStep: a step of the wall clock by a few seconds looks like a short sleep.
// The host registers anew, stays findable and says nothing. A step back means nothing.
func TestWallClockStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := countLogs(t)
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		var step atomic.Int64
		registers := new(registerTimes)
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithClientMetricsTracer(registers), func(c *clientConfig) error {
			c.wallClock = func() time.Time { return time.Now().Round(0).Add(time.Duration(step.Load())) }
			return nil
		})
		states := keep(t, c)
		until(t, states, time.Second, State.Findable)
		for range 10 {
			step.Add(int64(3 * time.Second))
			before := time.Now()
			until(t, states, 2*time.Second, func(s State) bool {
				require.True(t, s.Findable())
				return s.Namespaces[0].Points[0].Until.After(before.Add(MaxTTL))
			})
			time.Sleep(time.Second)
		}
		registers.take()
		for range 10 {
			step.Add(int64(-time.Hour))
			time.Sleep(time.Minute)
			require.True(t, (<-states).Findable())
		}
		times := registers.take()
		require.GreaterOrEqual(t, len(times), 40)
		for i := range times[1:] {
			require.GreaterOrEqual(t, times[i+1].Sub(times[i]), MaxTTL*2/5, "no refresh is early")
		}
		require.Empty(t, linesWith(lines, ""))
	})
}

// TestKeepRegisteredAtAPointThatForgot: a restarted point has lost all registrations.
func TestKeepRegisteredAtAPointThatForgot(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 2)
			service := startPoint(t, hosts[0], testStorage(t), p.serve...)
			states := keep(t, p.client(hosts[1], info(hosts[0])))
			until(t, states, time.Second, State.Findable)
			service.Stop()
			forgetful := testStorage(t)
			startPoint(t, hosts[0], forgetful, p.serve...)
			require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
			time.Sleep(100 * time.Millisecond)
			connect(t, hosts[0], hosts[1])
			time.Sleep(1250 * time.Millisecond)
			require.Equal(t, 1, live(t, forgetful, "n"))
		})
	})
}

// countingHost counts the subscriptions to its events.
type countingHost struct {
	host.Host
	subscriptions atomic.Int64 // present ones
	most          atomic.Int64
}

type countingBus struct {
	event.Bus
	host *countingHost
}

type countingSubscription struct {
	event.Subscription
	host *countingHost
}

func (h *countingHost) EventBus() event.Bus { return countingBus{h.Host.EventBus(), h} }

func (b countingBus) Subscribe(types any, opts ...event.SubscriptionOpt) (event.Subscription, error) {
	s, err := b.Bus.Subscribe(types, opts...)
	b.host.most.Store(max(b.host.most.Load(), b.host.subscriptions.Add(1)))
	return countingSubscription{s, b.host}, err
}

func (s countingSubscription) Close() error {
	s.host.subscriptions.Add(-1)
	return s.Subscription.Close()
}

// waitingHost is a host whose event bus lets Subscribe wait, as it does while the host waits until
// another subscriber has taken an event.
type waitingHost struct {
	host.Host
	asked chan struct{} // receives when Subscribe begins to wait
	over  chan struct{} // closed to let it return
}

type waitingBus struct {
	event.Bus
	host *waitingHost
}

func (h *waitingHost) EventBus() event.Bus { return waitingBus{h.Host.EventBus(), h} }

func (b waitingBus) Subscribe(types any, opts ...event.SubscriptionOpt) (event.Subscription, error) {
	b.host.asked <- struct{}{}
	<-b.host.over
	return b.Bus.Subscribe(types, opts...)
}

// TestSubscribingBlocksNoWakeUp: while a call subscribes to the host's events, a wake-up that
// earlier calls have caused can go on, as the bus may wait for it.
func TestSubscribingBlocksNoWakeUp(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Client) error{
		"KeepRegistered": func(ctx context.Context, c *Client) error {
			states, err := c.KeepRegistered(ctx, "n")
			go func() {
				for range states { // until its goroutines have ended
				}
			}()
			return err
		},
		"Advertise": func(ctx context.Context, c *Client) error {
			_, err := c.Advertise(ctx, "n")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 2)
				startPoint(t, hosts[0], testStorage(t))
				h := &waitingHost{hosts[1], make(chan struct{}), make(chan struct{})}
				c := NewClient(h, WithPoints(info(hosts[0])))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				called := make(chan error, 1)
				go func() { called <- call(ctx, c) }()
				<-h.asked
				free := c.registrar.mu.TryLock() // what wake needs
				if free {
					c.registrar.mu.Unlock()
				}
				close(h.over)
				require.NoError(t, <-called)
				require.True(t, free)
			})
		})
	}
}

// TestRefusedHostIsWokenRarely: a host that is refused everywhere does not ask more often than
// once a second because a peer connects again and again.
func TestRefusedHostIsWokenRarely(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 3)
			refuse := WithAuthorizer(func(context.Context, Request) error { return errors.New("not here") })
			for _, h := range hosts[:2] {
				startPoint(t, h, testStorage(t), append(p.serve, refuse)...)
			}
			sent := &requestCount{at: hosts[0].ID()}
			keep(t, NewClient(hosts[2], WithPoints(info(hosts[0]), info(hosts[1])), p.speak, sent.option))
			const duration = 15 * time.Second
			flap(t, hosts[1], hosts[2], duration)
			t.Logf("refused, beside a point that connects again and again: %d REGISTERs in %v", sent.registers.Load(), duration)
			require.LessOrEqual(t, sent.registers.Load(), int64(duration/time.Second)+1)
		})
	})
}

// flap lets a host connect to another one again and again.
func flap(t testing.TB, from, to host.Host, duration time.Duration) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < duration; {
		connect(t, from, to)
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, from.Network().ClosePeer(to.ID()))
		time.Sleep(20 * time.Millisecond)
	}
}

// requestCount counts the requests to a point.
type requestCount struct {
	at                   peer.ID
	registers, discovers atomic.Int64
}

func (c *requestCount) option(config *clientConfig) error {
	config.metrics = c
	return nil
}

func (c *requestCount) RequestEnded(e RequestEnded) {
	switch {
	case e.Point != c.at:
	case e.Type == RequestRegister:
		c.registers.Add(1)
	case e.Type == RequestDiscover:
		c.discovers.Add(1)
	}
}

// registerTimes records when REGISTERs end.
type registerTimes struct {
	mu    sync.Mutex
	times []time.Time
}

func (r *registerTimes) RequestEnded(e RequestEnded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Type == RequestRegister {
		r.times = append(r.times, time.Now())
	}
}

// take returns the times since the last call.
func (r *registerTimes) take() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	times := r.times
	r.times = nil
	return times
}

// advertise calls Advertise as gossipsub does.
func advertise(ctx context.Context, d discovery.Discovery, ns string) {
	for ctx.Err() == nil {
		next, _ := d.Advertise(ctx, ns) // an error has a next attempt, too
		select {
		case <-time.After(next):
		case <-ctx.Done():
		}
	}
}

// TestRefreshesAreShared: a hundred topics of a client have one subscription to the host's
// events and are refreshed together. Several calls for a namespace refresh it once. All
// ends with the last of them.
func TestRefreshesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics = 100
		hosts := simHosts(t, 2)
		s := testStorage(t)
		startPoint(t, hosts[0], s)
		h := &countingHost{Host: hosts[1]}
		registers := new(registerTimes)
		c := NewClient(h, WithPoints(info(hosts[0])), func(c *clientConfig) error {
			c.metrics = registers
			return nil
		})
		all := namespaces(topics)
		ctx, cancel := context.WithCancel(t.Context())
		for _, ns := range all {
			go advertise(ctx, c, ns)
		}
		longer, end := context.WithCancel(t.Context())
		var calls []<-chan State
		for range 2 {
			states, err := c.KeepRegistered(longer, all...)
			require.NoError(t, err)
			calls = append(calls, states)
		}
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, h.most.Load())
		registers.take()
		time.Sleep(2 * time.Minute)
		times := registers.take()
		bursts := 1
		for i := range times[1:] {
			if times[i+1].Sub(times[i]) > time.Second {
				bursts++
			}
		}
		t.Logf("%d topics: %d refreshes in 2 minutes, in %d bursts", topics, len(times), bursts)
		require.GreaterOrEqual(t, len(times), topics*9)
		require.LessOrEqual(t, len(times), topics*14)
		require.LessOrEqual(t, bursts, 40, "as four groups would have")

		cancel()
		time.Sleep(time.Minute)
		require.Equal(t, topics, registeredIn(t, h.ID(), all, []Storage{s}), "KeepRegistered still runs")
		end()
		for _, states := range calls {
			for range states { // until its goroutines have ended
			}
		}
		time.Sleep(MaxTTL + time.Second)
		require.Zero(t, registeredIn(t, h.ID(), all, []Storage{s}))
		require.Zero(t, h.subscriptions.Load())
	})
}

// TestSameState: a state that has not changed is not sent again, whatever the attempts do
// meanwhile. Errors that say the same are no change.
func TestSameState(t *testing.T) {
	refusing := func(t *testing.T, point host.Host) {
		t.Helper()
		startPoint(t, point, testStorage(t), WithAuthorizer(func(context.Context, Request) error { return errors.New("no") }))
	}
	resetting := func(_ *testing.T, point host.Host) {
		point.SetStreamHandler(RendezvousID_v001, func(st network.Stream) { _ = st.Reset() })
	}
	for _, test := range []struct {
		name   string
		points []func(*testing.T, host.Host)
		most   int // states
	}{
		{"itself", nil, 2},
		{"refused by one", []func(*testing.T, host.Host){refusing}, 3},
		{"refused by two", []func(*testing.T, host.Host){refusing, refusing}, 4},
		{"reset by two, each time with another number in the error", []func(*testing.T, host.Host){resetting, resetting}, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 3)
				h := hosts[2]
				points := []peer.AddrInfo{info(h)}
				for i, begin := range test.points {
					begin(t, hosts[i])
					points = append(points, info(hosts[i]))
				}
				states := keep(t, NewClient(h, WithPoints(points...)))
				end := time.After(10 * time.Minute)
				var last string
				for sent := 0; ; sent++ {
					select {
					case s := <-states:
						require.NotEqual(t, last, fmt.Sprintf("%+v", s))
						last = fmt.Sprintf("%+v", s)
					case <-end:
						require.NotEmpty(t, last)
						require.LessOrEqual(t, sent, test.most)
						return
					}
				}
			})
		})
	}
}

// TestUnreadStates: a state that nobody reads costs next to no memory, however many
// namespaces there are. To build one of 400
// namespaces at two points takes 60 microseconds and no garbage, at most ten times a second.
func TestUnreadStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		c := NewClient(hosts[1], WithPoints(info(hosts[0])))
		ctx, cancel := context.WithCancel(t.Context())
		var calls []<-chan State
		start := func() {
			states, err := c.KeepRegistered(ctx, namespaces(400)...)
			require.NoError(t, err)
			calls = append(calls, states)
		}
		garbage := func() float64 {
			time.Sleep(time.Minute) // until all are registered
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			time.Sleep(time.Minute)
			runtime.ReadMemStats(&after)
			return float64(after.TotalAlloc - before.TotalAlloc)
		}
		start()
		one := garbage()
		for range 4 {
			start()
		}
		five := garbage()
		t.Logf("400 namespaces, nobody reads the state: %.0f KB of garbage per second, and with five calls instead of one %.0f KB", one/60/1e3, five/60/1e3)
		const most = 400e3 // bytes per second, most of them for the refreshes at both ends
		require.Less(t, one/60, most)
		require.Less(t, five/60, most)
		require.Less(t, five, 1.5*one)
		require.True(t, (<-calls[0]).Findable(), "the newest state is given, not the oldest")

		cancel()
		for _, states := range calls {
			for range states { // until its goroutines have ended
			}
		}
	})
}

// TestAdvertiseWithoutEnd: with a context that cannot end, Advertise keeps the host
// registered for a TTL after its last call.
func TestAdvertiseWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		s := testStorage(t)
		startPoint(t, hosts[0], s)
		c := NewClient(hosts[1], WithPoints(info(hosts[0])))
		_, err := c.Advertise(context.WithoutCancel(t.Context()), "n")
		require.NoError(t, err)
		lived := 0
		for range 60 {
			time.Sleep(time.Second)
			lived += live(t, s, "n")
		}
		require.GreaterOrEqual(t, lived, int(DefaultTTL/time.Second)+5, "it was refreshed")
		require.LessOrEqual(t, lived, 2*int(MaxTTL/time.Second)+1)
		require.Zero(t, live(t, s, "n"))
	})
}

// TestKeepRegisteredRefusesNonsense: invalid arguments are an error at once.
func TestKeepRegisteredRefusesNonsense(t *testing.T) {
	c := NewClient(newHost(t))
	for _, ns := range [][]string{nil, {""}, {"n", strings.Repeat("n", 257)}} {
		_, err := c.KeepRegistered(t.Context(), ns...)
		require.ErrorIs(t, err, ErrInvalidNamespace)
	}
	_, err := c.Watch(t.Context(), "")
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = NewClient(nil).KeepRegistered(t.Context(), "n")
	require.ErrorContains(t, err, "rendezvous client")
	_, err = NewClient(nil).Watch(t.Context(), "n")
	require.ErrorContains(t, err, "rendezvous client")
}

// TestAddressesThatChangeAtTheLastMoment: the host's addresses change right before a wake-up that
// comes because of something else, and right after another namespace has looked at them. The new ones
// are registered all the same.
func TestAddressesThatChangeAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		storage := testStorage(t)
		startPoint(t, hosts[0], storage)
		var moved atomic.Bool
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithAddrsFactory(func(addrs []ma.Multiaddr) []ma.Multiaddr {
			if moved.Load() {
				return addrs[:1]
			}
			return append(addrs, ma.StringCast(addr))
		}))
		until(t, keep(t, c), time.Second, State.Findable)
		before := registeredBytes(t, storage, "n")
		time.Sleep(2 * minRefresh)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.Advertise(ctx, "other")
		require.NoError(t, err)
		moved.Store(true)
		c.registrar.wake(false)
		time.Sleep(time.Second)
		require.NotEqual(t, before, registeredBytes(t, storage, "n"))
		cancel()
		time.Sleep(time.Second) // until all goroutines have ended
	})
}

// registeredBytes returns the record of the only registration in a namespace.
func registeredBytes(t testing.TB, s Storage, ns string) []byte {
	t.Helper()
	records, err := s.Sample(t.Context(), ns, MaxDiscoverLimit, 0)
	require.NoError(t, err)
	require.Len(t, records, 1)
	return records[0].Envelope
}
