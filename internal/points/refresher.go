package points

import (
	"context"
	"time"
)

const (
	// callerDelay is how much longer than the caller of [Schedule.Ask] a refresh waits, so that
	// the next call comes first.
	callerDelay = time.Second
	// gatherTime is how much earlier than it is due a refresh may come, and how much later than
	// a wake-up or a call that wants it, so that it can be made together with others.
	gatherTime = 5 * time.Millisecond
	// LookInterval is how often to check whether a refresh that is not due yet should come
	// earlier. It is the refresh interval of a registration of 20 seconds.
	LookInterval = 12 * time.Second
	// minWake is the shortest time between a refresh, also one that failed, and one that is made
	// because something has happened. A peer may connect again and again.
	minWake = time.Second
)

// Refresher says when to refresh the registrations of a host in one namespace: when that is due,
// when something has happened, and when a call asks for it. [NewRefresher] makes one.
type Refresher[T any] struct {
	// Of is what the [Schedule] refreshes.
	Of T
	// Outdated reports whether to refresh after something has happened.
	Outdated func() bool
	// Early reports whether to refresh now, although the next refresh is due in more than
	// 2*LookInterval.
	Early func() bool

	ctx   context.Context // of Schedule.Run; nil before that
	ended chan struct{}   // closed when nothing is refreshed any more

	// Guarded by Schedule.mu:
	place  int            // in the queue, from 1; 0 if it is not there
	look   time.Time      // when to check whether to refresh
	woken  bool           // since the last check
	asks   []chan outcome // calls that want a refresh
	busy   bool           // while it is checked and refreshed
	ending bool           // whether ctx has ended
	cancel func()         // ends the refresh of its group; nil if it is in none

	// Used by the goroutine that has made it busy, and while it is not, under Schedule.mu:
	event  bool           // whether something has happened before this check
	asked  []chan outcome // calls that wait for the present refresh
	since  time.Time      // when the present check began
	begun  time.Time      // when the last refresh began for which a point was known
	latest time.Time      // when to refresh at the latest; zero before the first refresh
}

// outcome is the outcome of a refresh.
type outcome struct {
	next time.Duration // until the next one
	err  error
}

// NewRefresher returns a Refresher whose functions are still to be set.
func NewRefresher[T any](of T) *Refresher[T] {
	return &Refresher[T]{Of: of, ended: make(chan struct{})}
}

// begin begins a check.
func (r *Refresher[T]) begin(now time.Time) {
	r.busy, r.since = true, now
	r.event, r.woken = r.woken, false
	r.asked, r.asks = r.asks, nil
}

// wanted reports whether to refresh now.
func (r *Refresher[T]) wanted() bool {
	switch left := r.latest.Sub(r.since); {
	case len(r.asked) > 0:
		return true
	case !r.latest.IsZero() && left <= gatherTime:
		return true
	case r.event && r.Outdated():
		if earliest := r.begun.Add(minWake); r.since.Before(earliest) {
			if earliest.Before(r.latest) {
				r.latest = earliest
			}
			return false
		}
		return true
	default:
		return left > 2*LookInterval && r.Early()
	}
}

// refreshed records the outcome of a refresh, and tells those that have asked for it.
func (r *Refresher[T]) refreshed(o outcome, pointKnown bool) {
	if pointKnown {
		r.begun = r.since
	}
	wait := o.next
	if len(r.asked) > 0 {
		wait += callerDelay
	}
	for _, answer := range r.asked {
		answer <- o
	}
	r.latest = time.Now().Add(wait)
}

// nextLook returns when to check next whether to refresh. It is zero if only a wake-up or a call can
// make that necessary. A refresh that is due within 2*LookInterval is not brought forward.
func (r *Refresher[T]) nextLook() time.Time {
	now := time.Now()
	switch {
	case r.woken || len(r.asks) > 0:
		return r.soon()
	case r.latest.Sub(now) > 2*LookInterval:
		return now.Add(LookInterval)
	default:
		return r.latest
	}
}

// soon returns when to check after something has happened: at once before the first refresh, and
// otherwise so that others can come too.
func (r *Refresher[T]) soon() time.Time {
	if r.latest.IsZero() {
		return time.Now()
	}
	return time.Now().Add(gatherTime)
}
