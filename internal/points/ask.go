package points

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// hedgeAfter is how long points may take before the next one is asked as well. So
	// a silent point delays a search by that time and not by the timeout of a request.
	hedgeAfter = time.Second
	// askTimeout bounds asking as a whole, however many points are silent.
	askTimeout = 8 * time.Second
)

// asking is a call of [Set.Ask].
type asking struct {
	ctx          context.Context
	cancel       context.CancelFunc
	want, enough int
	request      func(context.Context, *Point) error
	others       sync.WaitGroup // goroutines besides that of the call

	mu       sync.Mutex
	extra    *Point   // is asked in addition to those that are wanted; nil if there is none or its request has ended
	left     []*Point // that have not been asked, the best first
	running  int      // requests
	hedges   int      // how many points to ask beyond want, because some are slow
	late     int      // calls of hedge since enough have answered
	answered []*Point
	failures []error
	slow     *time.Timer // calls hedge; nil when asking has ended
}

// order returns points in the order in which to ask want of them. A point that failed last
// time may be silent, so it must not take the place of one that works. If some of the first
// want failed, the one of them whose backoff ended first comes first. It is extra: it does
// not count as one that is wanted. Others that failed come last, so a call makes no more
// than one request in addition.
func order(points []*Point, want int) (ordered []*Point, extra *Point) {
	first := points[:min(want, len(points))]
	if !slices.ContainsFunc(first, (*Point).Failing) {
		return points, nil
	}
	var working, failing []*Point
	for _, p := range points {
		if p.Failing() {
			failing = append(failing, p)
		} else {
			working = append(working, p)
		}
	}
	for _, p := range failing {
		if slices.Contains(first, p) && (extra == nil || p.currentBackoff().until.Before(extra.currentBackoff().until)) {
			extra = p
		}
	}
	if extra == nil || len(working) == 0 {
		return points, nil
	}
	failing = slices.DeleteFunc(failing, func(p *Point) bool { return p == extra })
	return slices.Concat([]*Point{extra}, working, failing), extra
}

// ask makes a request at points, the first ones first. See [Set.Ask]. The goroutine of the
// call makes one of the requests, so a refresh at one point needs no other one.
func ask(ctx context.Context, points []*Point, want, enough int, request func(context.Context, *Point) error) ([]*Point, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	left, extra := order(points, want)
	a := &asking{ctx: ctx, cancel: cancel, want: want, enough: enough, request: request, left: left, extra: extra}
	a.work(a.begin())
	a.others.Wait()
	return a.end()
}

// begin starts all requests that are wanted but the first, and returns the point for that.
func (a *asking) begin() *Point {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow = time.AfterFunc(hedgeAfter, a.hedge)
	first := a.next()
	a.start()
	return first
}

// next returns the next point to ask, or nil if no more are wanted now. a.mu is held.
func (a *asking) next() *Point {
	asked := len(a.answered) + a.running
	limit := a.want + a.hedges
	if a.extra != nil {
		limit++
	}
	if len(a.left) == 0 || len(a.answered) >= a.want || asked >= limit || a.ctx.Err() != nil {
		return nil
	}
	point := a.left[0]
	a.left = a.left[1:]
	a.running++
	return point
}

// start starts all requests that are wanted now. a.mu is held.
func (a *asking) start() {
	for point := a.next(); point != nil; point = a.next() {
		a.others.Go(func() { a.work(point) })
	}
}

// work makes a request at a point, and at the next one if it fails.
func (a *asking) work(point *Point) {
	for point != nil {
		point = a.ended(point, a.request(a.ctx, point))
	}
}

// ended records the outcome of a request, and returns the next point to ask, or nil.
func (a *asking) ended(point *Point, err error) *Point {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if point == a.extra {
		a.extra = nil
	}
	if err != nil {
		a.failures = append(a.failures, err)
		return a.next()
	}
	a.answered = append(a.answered, point)
	if len(a.answered) == a.enough && a.slow != nil {
		a.slow.Reset(hedgeAfter)
	}
	return nil
}

// hedge is called every hedgeAfter while requests run, and allows one more request. It gives up
// those that still run at the second call after enough points have answered, or from the second
// call on if want have. The extra one has no less time than a point that is hedged against.
func (a *asking) hedge() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.slow == nil || a.running == 0 {
		return
	}
	a.slow.Reset(hedgeAfter)
	a.hedges++
	if len(a.answered) >= a.enough {
		a.late++
	}
	if a.late == 2 || a.hedges >= 2 && len(a.answered) >= a.want {
		a.cancel()
	}
	a.start()
}

// end returns the outcome.
func (a *asking) end() ([]*Point, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow.Stop()
	a.slow = nil
	if len(a.answered) == 0 {
		return nil, errors.Join(append(a.failures, a.ctx.Err())...)
	}
	return a.answered, nil
}

// RetryAfter returns how long to wait before points that did not answer are asked again:
// until the first of their backoffs ends, or until a point that was asked too often may be
// asked again. A point without a backoff has refused the request, and is asked again after
// afterRefusal.
func RetryAfter(points ...*Point) time.Duration {
	wait := afterRefusal
	for _, p := range points {
		if b := p.currentBackoff(); b.failures > 0 {
			wait = min(wait, time.Until(b.until))
		} else if after := p.pace.retryAfter(); after > 0 {
			wait = min(wait, after)
		}
	}
	return max(wait, Jitter(MinBackoff))
}
