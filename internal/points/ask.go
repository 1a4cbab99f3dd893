package points

import (
	"context"
	"errors"
	"time"
)

const (
	// hedgeAfter is how long points may take before the next one is asked as well. So
	// a silent point delays a search by that time and not by the timeout of a request.
	hedgeAfter = time.Second
	// askTimeout bounds asking as a whole, however many points are silent.
	askTimeout = 8 * time.Second
)

// ask makes a request at points, the first ones first. See [Set.Ask].
func ask(ctx context.Context, points []*Point, want, enough int, request func(context.Context, *Point) error) ([]*Point, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	type result struct {
		point *Point
		err   error
	}
	results := make(chan result)
	slow := time.NewTicker(hedgeAfter)
	defer slow.Stop()

	var (
		running  int
		hedges   int // how many points to ask beyond want, because some are slow
		waited   int // ticks since enough have answered
		answered []*Point
		failures []error
	)
	for {
		for len(points) > 0 && len(answered) < want && len(answered)+running < want+hedges && ctx.Err() == nil {
			point := points[0]
			points = points[1:]
			running++
			go func() { results <- result{point, request(ctx, point)} }()
		}
		if running == 0 {
			break
		}
		select {
		case r := <-results:
			running--
			if r.err != nil {
				failures = append(failures, r.err)
				continue
			}
			answered = append(answered, r.point)
			if len(answered) == enough {
				slow.Reset(hedgeAfter)
			}
		case <-slow.C:
			hedges++
			if len(answered) >= enough {
				waited++
			}
			if waited == 2 || len(answered) >= want {
				cancel()
			}
		}
	}
	if len(answered) == 0 {
		return nil, errors.Join(append(failures, ctx.Err())...)
	}
	return answered, nil
}

// afterRefusal is how long to wait before a point that refused a request is asked again.
// It is as long as a search may take, so that no search waits for it.
const afterRefusal = 8 * time.Second

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
