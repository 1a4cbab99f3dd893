package points

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scheduled runs the only Refresher of a Schedule until the test ends or cancel is called.
func scheduled(t *testing.T, refresh func(context.Context) (time.Duration, error), outdated, early func() bool) (ask func(context.Context) (time.Duration, error), wake, cancel func()) {
	t.Helper()
	var s *Schedule[int]
	r := NewRefresher(0)
	s = NewSchedule(together, func(context.Context, []int) { s.Go(r, refresh) })
	r.Outdated, r.Early = outdated, early
	ctx, cancel := context.WithCancel(t.Context())
	go s.Run(ctx, r)
	return func(ctx context.Context) (time.Duration, error) { return s.Ask(ctx, r) }, func() { s.Wake(r) }, cancel
}

func together(int) bool { return true }

func isSo() bool    { return true }
func isNotSo() bool { return false }

// TestRefresher: a refresh comes when it is due, when something has happened that calls for
// one, when it is asked for, and early if there is a hurry.
func TestRefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refreshes, next atomic.Int64
		var outdated, hurry atomic.Bool
		failure := errors.New("refused")
		next.Store(int64(10 * time.Second))
		outdated.Store(true)
		ask, wake, cancel := scheduled(t, func(context.Context) (time.Duration, error) {
			refreshes.Add(1)
			return time.Duration(next.Load()), failure
		}, outdated.Load, hurry.Load)
		after := func(d time.Duration, want int64, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			require.Equal(t, want, refreshes.Load(), what)
		}

		after(time.Hour, 0, "nothing has happened")
		wake()
		after(0, 1, "woken")
		after(9*time.Second, 1, "not due")
		after(time.Second, 2, "due")
		outdated.Store(false)
		wake()
		after(time.Second, 2, "woken for nothing")

		wait, err := ask(t.Context())
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
		_, err = ask(t.Context())
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
				refreshes := 0
				_, wake, cancel := scheduled(t, func(context.Context) (time.Duration, error) {
					refreshes++
					return time.Hour, row.outcome
				}, isSo, isNotSo)
				const wakes = 1000
				for range wakes {
					wake()
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
		refreshes := 0
		_, wake, cancel := scheduled(t, func(context.Context) (time.Duration, error) {
			refreshes++
			return MinBackoff, errRefused
		}, isSo, isNotSo)
		for range 1000 {
			wake()
			time.Sleep(wakeInterval)
		}
		cancel()
		synctest.Wait()
		require.InDelta(t, 1000*wakeInterval/MinBackoff, refreshes, 1)
	})
}

// TestManyCallsDelayNothing: a call is answered soon, however many others come.
func TestManyCallsDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refreshes := 0
		ask, wake, cancel := scheduled(t, func(context.Context) (time.Duration, error) {
			refreshes++
			return time.Hour, nil
		}, isNotSo, isNotSo)
		_, err := ask(t.Context())
		require.NoError(t, err)
		begun := time.Now()
		answered := make(chan time.Duration)
		var calls sync.WaitGroup
		defer calls.Wait()
		defer cancel()
		calls.Go(func() {
			_, _ = ask(t.Context())
			answered <- time.Since(begun)
		})
		for range 100 {
			time.Sleep(time.Millisecond)
			wake()
			calls.Go(func() { _, _ = ask(t.Context()) })
			select {
			case took := <-answered:
				require.LessOrEqual(t, took, gatherTime)
				require.Equal(t, 2, refreshes)
				return
			default:
			}
		}
		require.Fail(t, "the first call was not answered")
	})
}

// TestRefresherEndsCalls: a call returns when its context ends, or that of Run, even if the
// refresh under way does not.
func TestRefresherEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask, _, cancel := scheduled(t, func(ctx context.Context) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, isSo, isNotSo)
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := ask(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		waiting, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = ask(waiting) // for the refresh of the first
		require.ErrorIs(t, err, context.DeadlineExceeded)

		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		_, err = ask(t.Context())
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestScheduleBeforeRun: what happens before Run has its effect then.
func TestScheduleBeforeRun(t *testing.T) {
	for name, happen := range map[string]func(*Schedule[int], *Refresher[int]){
		"woken": (*Schedule[int]).Wake,
		"asked": func(s *Schedule[int], r *Refresher[int]) {
			go func() { _, _ = s.Ask(context.Background(), r) }()
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refreshes := 0
				r := NewRefresher(0)
				r.Outdated, r.Early = isSo, isNotSo
				var s *Schedule[int]
				s = NewSchedule(together, func(context.Context, []int) {
					refreshes++
					s.Done(r, time.Hour, nil)
				})
				happen(s, r)
				time.Sleep(time.Hour)
				require.Zero(t, refreshes)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s.Run(ctx, r)
				require.Equal(t, 1, refreshes)
			})
		})
	}
}

// crowd is Refreshers of one Schedule, with their numbers.
type crowd struct {
	*Schedule[int]
	all     []*Refresher[int]
	running sync.WaitGroup
	cancels []context.CancelFunc
}

// newCrowd runs n Refreshers. The first refresh of each succeeds. It calls refresh with those of
// the others, which are due ten seconds later.
func newCrowd(ctx context.Context, n int, refresh func(c *crowd, ctx context.Context, due []int)) *crowd {
	c := &crowd{all: make([]*Refresher[int], n), cancels: make([]context.CancelFunc, n)}
	c.Schedule = NewSchedule(together, func(ctx context.Context, due []int) {
		if c.all[due[0]].latest.IsZero() {
			for _, i := range due {
				c.Done(c.all[i], 10*time.Second, nil)
			}
			return
		}
		refresh(c, ctx, due)
	})
	for i := range n {
		r := NewRefresher(i)
		r.Outdated, r.Early = isSo, isNotSo
		c.all[i] = r
		c.Wake(r)
		var own context.Context
		own, c.cancels[i] = context.WithCancel(ctx)
		c.running.Go(func() { c.Run(own, r) })
	}
	return c
}

// TestScheduleRefreshesTogether: those that are due at the same time are refreshed together, and
// no more than maxGroup. One that is due a little later is not.
func TestScheduleRefreshesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = maxGroup + 10
		var mu sync.Mutex
		var groups [][]int
		record := false
		ctx, cancel := context.WithCancel(t.Context())
		c := newCrowd(ctx, n+1, func(c *crowd, _ context.Context, due []int) {
			mu.Lock()
			defer mu.Unlock()
			if record {
				groups = append(groups, slices.Clone(due))
			}
			for _, i := range due {
				next := 10*time.Second + time.Duration(i)*gatherTime/n
				if i == n {
					next += 2 * gatherTime
				}
				c.Done(c.all[i], next, nil)
			}
		})
		time.Sleep(15 * time.Second)
		mu.Lock()
		record = true
		mu.Unlock()
		time.Sleep(10 * time.Second)
		cancel()
		c.running.Wait()
		slices.SortFunc(groups, func(a, b []int) int { return len(b) - len(a) })
		require.Len(t, groups, 3)
		require.Len(t, groups[0], maxGroup)
		require.Len(t, groups[1], 10)
		require.Equal(t, []int{n}, groups[2])
		all := slices.Sorted(slices.Values(slices.Concat(groups...)))
		require.Len(t, slices.Compact(all), n+1)
	})
}

// TestScheduleEndsGroups when one in a group is not to be refreshed any more, or after groupTimeout.
// Run returns only when nothing is done for its Refresher any more. The others go on.
func TestScheduleEndsGroups(t *testing.T) {
	for name, row := range map[string]struct {
		ends  int           // which of three
		after time.Duration // after the group has begun
		want  time.Duration // how long the group takes
		left  int64         // how many go on
	}{
		"the first one ends":  {0, time.Second, time.Second, 2},
		"the second one ends": {1, time.Second, time.Second, 2},
		"none ends":           {0, time.Hour, groupTimeout, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const slow = 100 * time.Millisecond // to return after the context has ended
				var left atomic.Int64
				ctx, cancel := context.WithCancel(t.Context())
				c := newCrowd(ctx, 3, func(c *crowd, ctx context.Context, due []int) {
					begun := time.Now()
					time.AfterFunc(row.after, c.cancels[row.ends])
					<-ctx.Done()
					require.Len(t, due, 3)
					require.Equal(t, row.want, time.Since(begun))
					time.Sleep(slow)
					for _, i := range due {
						c.Go(c.all[i], func(ctx context.Context) (time.Duration, error) {
							if ctx.Err() == nil {
								left.Add(1)
							}
							return 2 * time.Hour, ctx.Err()
						})
					}
				})
				begun := time.Now().Add(10 * time.Second) // of the group
				if row.after < groupTimeout {
					<-c.all[row.ends].ended
					require.InDelta(t, row.want+slow, time.Since(begun), float64(gatherTime))
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				require.Equal(t, row.left, left.Load())
				cancel()
				c.running.Wait()
				time.Sleep(2 * row.after)
			})
		})
	}
}

// TestScheduleFillsGroups: those that are not refreshed together take no place in a group, and do not
// wait for one.
func TestScheduleFillsGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2 * maxGroup
		all := make([]*Refresher[int], n)
		var alone atomic.Int64
		groups := make(chan int, n)
		var s *Schedule[int]
		s = NewSchedule(func(i int) bool {
			switch {
			case all[i].latest.IsZero():
				s.Done(all[i], 10*time.Second, nil)
				return false
			case i%2 == 0:
				return true
			}
			s.Go(all[i], func(context.Context) (time.Duration, error) {
				alone.Add(1)
				return time.Hour, nil
			})
			return false
		}, func(ctx context.Context, due []int) {
			groups <- len(due)
			<-ctx.Done()
			for _, i := range due {
				s.Done(all[i], time.Hour, nil)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range all {
			all[i] = NewRefresher(i)
			all[i].Outdated, all[i].Early = isSo, isNotSo
			s.Wake(all[i])
			running.Go(func() { s.Run(ctx, all[i]) })
		}
		time.Sleep(10*time.Second + groupTimeout/2)
		require.Equal(t, int64(n/2), alone.Load())
		time.Sleep(groupTimeout)
		cancel()
		running.Wait()
		close(groups)
		var sizes []int
		for size := range groups {
			sizes = append(sizes, size)
		}
		require.Equal(t, []int{maxGroup}, sizes)
	})
}

// TestScheduleLeavesOutTheEnded: those that end before their group begins are not in it. The others
// are refreshed together.
func TestScheduleLeavesOutTheEnded(t *testing.T) {
	for name, ends := range map[string][]int{"the first": {0}, "the second": {1}, "all": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 3
				all := make([]*Refresher[int], n)
				cancels := make([]context.CancelFunc, n)
				groups, begun := make(chan int, n), 0
				var s *Schedule[int]
				s = NewSchedule(func(i int) bool {
					if all[i].latest.IsZero() {
						s.Done(all[i], 10*time.Second, nil)
						return false
					}
					if begun++; begun == n {
						for _, i := range ends {
							cancels[i]()
						}
						time.Sleep(time.Second) // until Run has noticed
					}
					return true
				}, func(ctx context.Context, due []int) {
					groups <- len(due)
					require.NoError(t, ctx.Err())
					for _, i := range due {
						s.Done(all[i], time.Hour, nil)
					}
				})
				var running sync.WaitGroup
				for i := range all {
					all[i] = NewRefresher(i)
					all[i].Outdated, all[i].Early = isSo, isNotSo
					s.Wake(all[i])
					var ctx context.Context
					ctx, cancels[i] = context.WithCancel(t.Context())
					running.Go(func() { s.Run(ctx, all[i]) })
				}
				time.Sleep(time.Minute)
				for _, cancel := range cancels {
					cancel()
				}
				running.Wait()
				close(groups)
				if len(ends) < n {
					require.Equal(t, n-len(ends), <-groups)
				}
				require.Empty(t, groups)
			})
		})
	}
}
