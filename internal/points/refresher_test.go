package points

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRefresher: a refresh comes when it is due, when something has happened that calls for
// one, when it is asked for, and early if there is a hurry.
func TestRefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var refreshes, next atomic.Int64
		var outdated, hurry atomic.Bool
		failure := errors.New("refused")
		r := NewRefresher()
		r.Refresh = func(context.Context) (time.Duration, error) {
			refreshes.Add(1)
			return time.Duration(next.Load()), failure
		}
		r.Outdated, r.Early = outdated.Load, hurry.Load
		next.Store(int64(10 * time.Second))
		outdated.Store(true)
		go r.Run(ctx)
		after := func(d time.Duration, want int64, what string) {
			time.Sleep(d)
			synctest.Wait()
			require.Equal(t, want, refreshes.Load(), what)
		}

		after(time.Hour, 0, "nothing has happened")
		r.Wake()
		after(0, 1, "woken")
		after(9*time.Second, 1, "not due")
		after(time.Second, 2, "due")
		outdated.Store(false)
		r.Wake()
		after(0, 2, "woken for nothing")

		wait, err := r.Ask(t.Context())
		require.Equal(t, 10*time.Second, wait)
		require.ErrorIs(t, err, failure)
		after(10*time.Second, 3, "the caller comes first")
		next.Store(int64(time.Hour))
		after(callerDelay, 4, "the caller does not come")

		after(time.Hour-time.Second, 4, "due in an hour")
		after(time.Second, 5, "an hour later")
		hurry.Store(true)
		next.Store(int64(3 * time.Minute))
		after(LookInterval, 6, "a hurry")
		hurry.Store(false)
		after(3*time.Minute-time.Second, 6, "no hurry any more")
		hurry.Store(true)
		after(0, 6, "a refresh that is due soon does not hurry")
		after(time.Second, 7, "due")

		cancel()
		synctest.Wait()
		_, err = r.Ask(t.Context())
		require.ErrorIs(t, err, context.Canceled)
		after(time.Hour, 7, "ended")
	})
}

// TestRefresherIsWokenRarely: however often something happens, there is one refresh a second,
// also while refreshes fail. One that asked nobody does not count.
func TestRefresherIsWokenRarely(t *testing.T) {
	for name, row := range map[string]struct {
		outcome error
		wakes   int // for each refresh
	}{
		"accepted":  {nil, int(minWake / wakeInterval)},
		"refused":   {errRefused, int(minWake / wakeInterval)},
		"no points": {ErrNoPoints, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				refreshes := 0
				r := NewRefresher()
				r.Refresh = func(context.Context) (time.Duration, error) {
					refreshes++
					return time.Hour, row.outcome
				}
				r.Outdated, r.Early = func() bool { return true }, func() bool { return false }
				go r.Run(ctx)
				const wakes = 1000
				for range wakes {
					r.Wake()
					time.Sleep(wakeInterval)
				}
				cancel()
				synctest.Wait()
				require.InDelta(t, wakes/row.wakes, refreshes, 1)
			})
		})
	}
}

// wakeInterval is how often tests wake a Refresher.
const wakeInterval = 10 * time.Millisecond

// TestWakingDelaysNothing: a refresh that is due sooner than the next one that something may
// cause comes when it is due.
func TestWakingDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		refreshes := 0
		r := NewRefresher()
		r.Refresh = func(context.Context) (time.Duration, error) {
			refreshes++
			return MinBackoff, errRefused
		}
		r.Outdated, r.Early = func() bool { return true }, func() bool { return false }
		go r.Run(ctx)
		for range 1000 {
			r.Wake()
			time.Sleep(wakeInterval)
		}
		cancel()
		synctest.Wait()
		require.InDelta(t, 1000*wakeInterval/MinBackoff, refreshes, 1)
	})
}

// TestRefresherEndsCalls: a call returns when its context ends, or the Refresher, even if the
// refresh under way does not.
func TestRefresherEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := NewRefresher()
		r.Refresh = func(ctx context.Context) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		go r.Run(ctx)
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := r.Ask(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		waiting, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = r.Ask(waiting) // for the refresh of the first
		require.ErrorIs(t, err, context.DeadlineExceeded)

		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		_, err = r.Ask(t.Context())
		require.ErrorIs(t, err, context.Canceled)
	})
}
