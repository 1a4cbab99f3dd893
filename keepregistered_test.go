package rendezvous

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
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
		s = until(t, states, time.Second, func(s State) bool { return s.Namespaces[1].Err != nil })
		require.Len(t, s.Namespaces, 2, "each once")
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
// The host registers anew and stays findable.
func TestWallClockStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		var step atomic.Int64
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), func(c *clientConfig) error {
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
	})
}

// TestKeepRegisteredAtAPointThatForgot: a restarted point has lost all registrations.
func TestKeepRegisteredAtAPointThatForgot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		service := startPoint(t, hosts[0], testStorage(t))
		states := keep(t, NewClient(hosts[1], WithPoints(info(hosts[0]))))
		until(t, states, time.Second, State.Findable)
		service.Stop()
		forgetful := testStorage(t)
		startPoint(t, hosts[0], forgetful)
		require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
		time.Sleep(100 * time.Millisecond)
		connect(t, hosts[0], hosts[1])
		time.Sleep(1250 * time.Millisecond)
		require.Equal(t, 1, live(t, forgetful, "n"))
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
