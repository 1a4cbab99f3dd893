package points

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// A point's pace begins as the default limit of a point: 50 requests per second, 100 at
// once. It grows quickly while that is too slow, until the point says for the first time
// that it is too much.
const (
	firstRate = 50.0 // requests per second
	minRate   = 1.0
	maxRate   = 1e6
	burstTime = 2 * time.Second // a burst is what may be sent in this time
	// growth is how much faster the pace becomes with each answer while the point has
	// never said that it is too much, in requests per second.
	growth = 4.0
	// recoveryTime is how long the pace takes to grow back after it was halved, to a
	// little less than it was before. After holdTime, counted from the halving, it doubles
	// every doublingTime while requests have to wait.
	recoveryTime = 5 * time.Second
	holdTime     = 10 * time.Second
	doublingTime = 10 * time.Second
	safeRate     = 0.9 // of the rate that was too much
	// quietTime is how long nothing is sent after the rate was halved. What was under way was
	// declined and charged as well, all requests of a batch, so the point would decline the
	// next ones, too, and the rate would be halved for each of them.
	quietTime = 500 * time.Millisecond
	// busyTime is how long a point's requests count as waiting after one had to
	// wait.
	busyTime = time.Second
	// afterTooMuch is when to ask a point again after it said once that it is too much.
	afterTooMuch = time.Second
	// afterRefusal is how long to wait before a point that refused a request is asked
	// again. It is as long as a search may take, so that no search waits for it.
	afterRefusal = 8 * time.Second
	// One in shareOfOthers waiting requests is not an urgent one, so that urgent
	// requests cannot starve the others.
	shareOfOthers = 10
)

// pace limits how often a point is asked: a token bucket that the point itself slows
// down. Urgent requests wait less than others. It has no goroutine of its own.
type pace struct {
	mu         sync.Mutex
	rate       float64   // requests per second
	ceiling    float64   // the rate to grow back to; 0 while the point has never complained
	tokens     float64   // below 0 after the rate was halved
	counted    time.Time // when tokens was computed
	cut        time.Time // when the rate was last halved
	complaints int       // in a row: requests that were too much
	waited     time.Time // when a request last had to wait
	granted    int       // requests that had to wait and were let through
	urgent     []*waiter
	others     []*waiter
	timer      *time.Timer // runs while requests wait; nil before the first
}

// waiter is a request that waits.
type waiter struct {
	price float64 // in tokens
	come  chan struct{}
}

func newPace() *pace {
	return &pace{rate: firstRate, tokens: firstRate * burstTime.Seconds(), counted: time.Now()}
}

// wait waits until a request may be sent that costs price tokens, or until ctx ends.
func (p *pace) wait(ctx context.Context, urgent bool, price float64) error {
	t := p.enter(urgent, price)
	if t == nil {
		return nil
	}
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		p.leave(t)
		return fmt.Errorf("wait for the rate limit of the point: %w", ctx.Err())
	}
}

// try pays the price if no request has to wait now, and reports whether it did.
func (p *pace) try(price float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pay(price)
}

// pay is try; mu is held.
func (p *pace) pay(price float64) bool {
	p.refill(time.Now())
	if len(p.urgent)+len(p.others) > 0 || p.tokens < price {
		return false
	}
	p.tokens -= price
	return true
}

// enter pays the price and returns nil, or returns the waiter whose turn is still to come.
func (p *pace) enter(urgent bool, price float64) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pay(price) {
		return nil
	}
	p.waited = p.counted
	t := &waiter{price, make(chan struct{})}
	if urgent {
		p.urgent = append(p.urgent, t)
	} else {
		p.others = append(p.others, t)
	}
	p.schedule()
	return t
}

// leave removes a waiter. If its turn has come already, its tokens go to the next.
func (p *pace) leave(t *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := func(other *waiter) bool { return other == t }
	waiting := len(p.urgent) + len(p.others)
	p.urgent = slices.DeleteFunc(p.urgent, is)
	p.others = slices.DeleteFunc(p.others, is)
	if len(p.urgent)+len(p.others) == waiting {
		p.tokens += t.price
	}
	p.schedule()
}

// schedule sets the timer for the next waiter, if there is one.
func (p *pace) schedule() {
	if len(p.urgent)+len(p.others) == 0 {
		return
	}
	in := time.Duration(max(0, (*p.next())[0].price-p.tokens) / p.rate * float64(time.Second))
	if p.timer == nil {
		p.timer = time.AfterFunc(in, p.grant)
		return
	}
	p.timer.Reset(in)
}

// grant lets waiting requests through, as long as there are tokens.
func (p *pace) grant() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refill(time.Now())
	for len(p.urgent)+len(p.others) > 0 {
		queue := p.next()
		t := (*queue)[0]
		if p.tokens < t.price-1e-6 {
			break
		}
		*queue = (*queue)[1:]
		p.granted++
		p.tokens = max(0, p.tokens-t.price)
		p.waited = p.counted
		close(t.come)
	}
	p.schedule()
}

// next returns the queue whose turn it is.
func (p *pace) next() *[]*waiter {
	if len(p.urgent) == 0 || len(p.others) > 0 && p.granted%shareOfOthers == shareOfOthers-1 {
		return &p.others
	}
	return &p.urgent
}

// refill adds the tokens since the last call, and lets the rate grow back.
func (p *pace) refill(now time.Time) {
	passed := now.Sub(p.counted).Seconds()
	if passed <= 0 {
		return
	}
	p.counted = now
	p.tokens = min(p.tokens+passed*p.rate, max(1, p.rate*burstTime.Seconds()))
	switch {
	case p.ceiling == 0:
	case p.rate < p.ceiling:
		p.rate = min(p.ceiling, p.rate+passed*p.ceiling/2/recoveryTime.Seconds())
	case p.busy() && now.Sub(p.cut) > holdTime:
		p.ceiling = min(maxRate, p.ceiling*math.Exp2(passed/doublingTime.Seconds()))
		p.rate = p.ceiling
	}
}

// busy reports whether the pace makes requests wait at present.
func (p *pace) busy() bool { return !p.waited.IsZero() && p.counted.Sub(p.waited) < busyTime }

// answered records that the point has answered a request.
func (p *pace) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = 0
	if p.ceiling == 0 && p.busy() {
		p.rate = min(maxRate, p.rate+growth)
	}
}

// tooMuch records that the point wants fewer requests, as it answered a request that
// began at begun. Answers to requests from before the rate was halved do not halve it
// again.
func (p *pace) tooMuch(begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if begun.Before(p.cut) {
		return
	}
	now := time.Now()
	p.refill(now)
	p.ceiling = max(minRate, p.rate*safeRate)
	p.rate = max(minRate, p.rate/2)
	p.tokens = -p.rate * quietTime.Seconds()
	p.cut = now
	p.complaints++
}

// retryAfter returns how long to wait after a request that was too much, longer for each
// in a row, or 0 if there was none of late.
func (p *pace) retryAfter() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.complaints == 0 && (p.cut.IsZero() || time.Since(p.cut) >= afterRefusal) {
		return 0
	}
	return Jitter(min(maxBackoff, afterTooMuch<<min(max(p.complaints-1, 0), 8)))
}
