package points

import (
	"math/rand/v2"
	"time"
)

// A point that fails is left alone for MinBackoff, and twice as long after each further
// failure. maxBackoff is well under the TTL of a registration: a point that comes back
// has all registrations again within a TTL.
const (
	// MinBackoff is the shortest time between two attempts at a point that fails.
	MinBackoff = 500 * time.Millisecond
	maxBackoff = 6 * time.Second
)

// goneAfter is how many failures in a row make a point count as gone. The backoff is then
// at its longest for the second time.
const goneAfter = 6

// minRetryNow is the shortest time between two attempts that are made early because the
// point has connected. A point that connects all the time stays in backoff.
const minRetryNow = 5 * time.Second

// backoff is the state of a point after failures. The zero value means that the point
// has not failed since it last answered.
type backoff struct {
	failures int       // in a row
	since    time.Time // of the last failure
	until    time.Time
	retried  time.Time // when the next attempt was last brought forward
	err      error     // of the last failure
}

// fail counts a request that began at begun and has failed now. Requests that fail
// together count as one: one that began before the last failure is not counted again.
func (b *backoff) fail(begun, now time.Time, err error) {
	if !begun.After(b.since) {
		return
	}
	wait := min(maxBackoff, MinBackoff<<min(b.failures, 8))
	b.failures++
	b.since, b.until, b.err = now, now.Add(Jitter(wait)), err
}

// pause counts a request that began at begun and that the host itself has refused now, such as
// for a limit of its resource manager. That says nothing about the point: the next attempt comes
// soon, and a failing point is no nearer to being gone.
func (b *backoff) pause(begun, now time.Time, err error) {
	failures := max(1, b.failures)
	b.failures = 0
	b.fail(begun, now, err)
	b.failures = failures
}

// retryNow lets the next attempt be made now, and reports whether that is earlier than it
// would have been. It does not shorten the backoffs after that.
func (b *backoff) retryNow(now time.Time) bool {
	if !b.active(now) || !b.retried.IsZero() && now.Sub(b.retried) < minRetryNow {
		return false
	}
	b.until, b.retried = now, now
	return true
}

// active reports whether the point is to be left alone.
func (b *backoff) active(now time.Time) bool { return now.Before(b.until) }

// Jitter returns d shortened by up to a quarter, at random, so that peers that failed
// together do not try again together.
func Jitter(d time.Duration) time.Duration {
	return d - rand.N(d/4+1)
}
