package main

// The latency of Add and Sample while all registrations expire at once.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// expiry has the longest times while a full storage emptied, and how long that took.
type expiry struct{ add, sample, duration time.Duration }

// measureExpiry checks the best of three attempts: a busy machine can delay an operation
// in one of them, but a storage that blocks does so in all of them.
func measureExpiry(t *targets) error {
	const limit = 10 * time.Millisecond
	var best expiry
	for attempt := range 3 {
		e, err := expireUnderLoad()
		if err != nil {
			return err
		}
		if attempt == 0 || max(e.add, e.sample) < max(best.add, best.sample) {
			best = e
		}
		if max(e.add, e.sample) <= limit {
			break
		}
	}
	what := fmt.Sprintf("%d expire at once, gone after %v", *fullSize, best.duration.Round(time.Millisecond))
	t.check(best.add <= limit, "%-50s slowest Add %v", what, best.add)
	t.check(best.sample <= limit, "%-50s slowest Sample(50) %v", "", best.sample)
	return nil
}

// expireUnderLoad fills a storage, and adds and samples while the registrations expire.
func expireUnderLoad() (e expiry, err error) {
	s := rendezvous.NewMemoryStorage()
	defer func() { err = errors.Join(err, s.Close()) }()
	f := newFiller(1)
	deadline := time.Now().Add(15 * time.Second)
	if err := f.fill(s, *fullSize, deadline); err != nil {
		return expiry{}, err
	}
	runtime.GC()
	ctx := context.Background()
	time.Sleep(time.Until(deadline) - time.Second/2)
	for added := 1; ; added++ {
		r := f.record(*fullSize+added, time.Now().Add(*ttl))
		start := time.Now()
		if err := s.Add(ctx, r, rendezvous.Quota{}); err != nil {
			return expiry{}, err
		}
		afterAdd := time.Now()
		if _, err := s.Sample(ctx, r.Namespace, sampleSize, 0); err != nil {
			return expiry{}, err
		}
		e.add, e.sample = max(e.add, afterAdd.Sub(start)), max(e.sample, time.Since(afterAdd))
		if added%50 != 0 {
			continue
		}
		time.Sleep(time.Millisecond) // let other goroutines use the CPU
		counts, err := s.Counts(ctx)
		if err != nil {
			return expiry{}, err
		}
		if time.Now().After(deadline) && counts.Registrations <= added {
			e.duration = time.Since(deadline)
			return e, nil
		}
	}
}
