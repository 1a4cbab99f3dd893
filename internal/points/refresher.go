package points

import (
	"context"
	"errors"
	"time"
)

const (
	// callerDelay is how much longer than the caller of [Refresher.Ask] a refresh waits, so
	// that the next call comes first.
	callerDelay = time.Second
	// LookInterval is how often to check whether a refresh that is not due yet should come
	// earlier. It is the refresh interval of a registration of 20 seconds.
	LookInterval = 12 * time.Second
	// minWake is how long after a refresh, also one that failed, the next one comes at the
	// earliest because something has happened. A peer may connect again and again.
	minWake = time.Second
)

// Refresher refreshes the registrations of a host in one namespace when that is due, when
// something has happened, and when it is asked to.
type Refresher struct {
	// Refresh refreshes those that need it and returns how long to wait before the next time,
	// also if it fails.
	Refresh func(context.Context) (next time.Duration, err error)
	// Outdated reports whether they must be refreshed after something has happened.
	Outdated func() bool
	// Early reports whether to refresh them now, although that is not due for a while.
	Early func() bool

	woken chan struct{}     // holds a token when something may have happened
	asks  chan chan outcome // calls that want a refresh now
	ended chan struct{}     // closed when Run has returned
	begun time.Time         // when the last refresh began that asked a point; only Run uses it
	due   time.Time         // when to refresh at the latest; only Run uses it
}

// outcome is the outcome of a refresh.
type outcome struct {
	next time.Duration // until the next one
	err  error
}

// NewRefresher returns a Refresher whose functions are still to be set. It does nothing until
// it runs.
func NewRefresher() *Refresher {
	return &Refresher{woken: make(chan struct{}, 1), asks: make(chan chan outcome), ended: make(chan struct{})}
}

// Wake says that something may have happened. It does not block.
func (r *Refresher) Wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// Ask refreshes now and returns when to ask again.
func (r *Refresher) Ask(ctx context.Context) (time.Duration, error) {
	answer := make(chan outcome, 1)
	select {
	case r.asks <- answer:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.ended:
		return 0, context.Canceled
	}
	select {
	case o := <-answer:
		return o.next, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.ended:
		return 0, context.Canceled
	}
}

// Run refreshes until ctx ends. It begins when it is woken or asked to. It must run once.
func (r *Refresher) Run(ctx context.Context) {
	defer close(r.ended)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		var answer chan outcome
		select {
		case answer = <-r.asks:
		case <-timer.C:
			if wait := r.rest(); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case <-r.woken:
			if !r.Outdated() {
				continue
			}
			if earliest := r.begun.Add(minWake); time.Now().Before(earliest) {
				if earliest.Before(r.due) {
					r.due = earliest
					timer.Reset(time.Until(earliest))
				}
				continue
			}
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		next, err := r.Refresh(ctx)
		if !errors.Is(err, ErrNoPoints) {
			r.begun = begun
		}
		if answer != nil {
			answer <- outcome{next, err}
			next += callerDelay
		}
		r.due = time.Now().Add(next)
		if next > 2*LookInterval {
			next = LookInterval
		}
		timer.Reset(next)
	}
}

// rest returns how long to wait before the next check, 0 to refresh now. A refresh that is
// due within 2*LookInterval is not brought forward.
func (r *Refresher) rest() time.Duration {
	left := time.Until(r.due)
	switch {
	case left <= 2*LookInterval:
		return max(0, left)
	case r.Early():
		return 0
	default:
		return LookInterval
	}
}
