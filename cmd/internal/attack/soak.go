package main

// Running all attacks in turn for a long time.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// runSoak runs all attacks in turn, in complete rounds, while honest peers come and go.
// It fails if the process grows from round to round, or if an honest request fails.
func runSoak(ctx context.Context, c *campaign, duration time.Duration) error {
	b, err := newTestbed(ctx, c.onRedis)
	if err != nil {
		return err
	}
	// Not a context with a deadline: honest requests would inherit it.
	soakCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	stats := new(honestStats)
	var wg sync.WaitGroup
	for i := range c.scale.honest {
		wg.Go(func() { churn(soakCtx, b, i, stats) })
	}
	rounds, missed := runRounds(soakCtx, c, time.Now().Add(duration), b, stats)
	cancel()
	wg.Wait()
	r := result{name: "soak", stats: stats}
	missed = append(missed, r.check(), checkGrowth(rounds), b.close())
	succeeded, errs := stats.counts()
	fmt.Fprintf(c.out, "%d rounds, %d honest requests, %d failed, p50 %v, p99 %v\n",
		len(rounds), succeeded+len(errs), len(errs), stats.percentile(50), stats.percentile(99))
	return errors.Join(append(missed, context.Cause(ctx))...)
}

// churn runs one honest peer after the other, each for a few seconds that depend on i.
func churn(ctx context.Context, b *testbed, i int, stats *honestStats) {
	for ctx.Err() == nil {
		peerCtx, end := context.WithCancel(ctx)
		lifetime := time.AfterFunc(time.Duration(5+3*i)*time.Second, end)
		if err := b.runHonest(peerCtx, stats); err != nil {
			stats.record(0, err)
		}
		lifetime.Stop()
		end()
	}
}

// runRounds runs rounds of all attacks until a time, at least two rounds. It returns the
// usage of the process after each round.
func runRounds(ctx context.Context, c *campaign, until time.Time, b *testbed, stats *honestStats) (after []usage, missed []error) {
	for len(after) < 2 || time.Now().Before(until) {
		for _, a := range attacks {
			if !c.includes(a) || ctx.Err() != nil {
				continue
			}
			hostile := &attackers{testbed: b, attack: a, duration: c.duration, stats: stats, scale: c.scale}
			err := hostile.prepare(ctx)
			attackCtx, end := context.WithTimeout(ctx, c.duration)
			if err == nil {
				a.run(attackCtx, hostile)
			}
			end()
			missed = append(missed, ignoreEnd(ctx, err), hostile.close())
		}
		pause(ctx, 2*testTTL) // until all registrations have expired
		if ctx.Err() != nil {
			break // interrupted
		}
		u := usageNow()
		after = append(after, u)
		succeeded, errs := stats.counts()
		fmt.Fprintf(c.out, "round %d: %d MiB, %d goroutines, %d streams, %d honest requests, p99 %v\n",
			len(after), u.heap>>20, u.goroutines, b.streams(), succeeded+len(errs), stats.percentile(99))
	}
	return after, missed
}

// checkGrowth compares the usage after the first round with the usage after the last.
func checkGrowth(rounds []usage) error {
	if len(rounds) < 2 {
		return nil
	}
	first, last := rounds[0], rounds[len(rounds)-1]
	if last.exceeds(first) {
		return fmt.Errorf("from round 1 to round %d the process grew by %s", len(rounds), last.difference(first))
	}
	return nil
}
