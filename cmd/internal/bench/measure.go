package main

// Running an experiment: rounds, in which the sides take turns, and their median.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// measureExperiment runs all rounds and returns a result for each side.
func measureExperiment(ctx context.Context, e *experiment, rounds int, length time.Duration) ([]result, error) {
	samples := make([][]sample, len(e.sides)) // by side and round
	for n := range rounds {
		round, err := measureRound(ctx, e, n, length)
		if err != nil {
			return nil, err
		}
		for i, s := range round {
			samples[i] = append(samples[i], s)
		}
	}
	var results []result
	for i, s := range e.sides {
		r := newResult(e, s.name, samples[i], samples[0])
		r.RequestBytes, r.AnswerBytes = e.frames()
		results = append(results, r)
	}
	return results, nil
}

// turnLength is how long a turn of a side lasts. It is short, so that other load of the
// machine affects all sides alike.
const turnLength = 25 * time.Millisecond

// measureRound gives turns to all sides until each of them has run for a time. It returns
// a sample for each side.
func measureRound(ctx context.Context, e *experiment, n int, length time.Duration) (samples []sample, err error) {
	var runners []*runner
	defer func() {
		for _, r := range runners {
			r.end()
		}
	}()
	for _, s := range e.sides {
		r, err := startRunner(ctx, s, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		runners = append(runners, r)
	}
	runtime.GC() // so that no side pays for the garbage of the preparations
	for turn := range max(1, int(length/turnLength)) {
		for i := range runners {
			i = (i + turn) % len(runners) // another side begins each time
			if err := runners[i].turn(turnLength); err != nil {
				return nil, fmt.Errorf("%s: %w", e.sides[i].name, err)
			}
		}
	}
	for _, r := range runners {
		samples = append(samples, r.sample())
	}
	return samples, nil
}

// runner runs one side in one round.
type runner struct {
	callers []*caller
	used    usage
}

// startRunner prepares a side for a round. Every client has sent one request, to warm up.
func startRunner(ctx context.Context, s side, round int) (*runner, error) {
	if err := s.prepare(ctx, round); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	r := &runner{}
	for _, c := range s.clients {
		request, end, err := s.begin(ctx, c)
		if err != nil {
			return nil, err
		}
		r.callers = append(r.callers, &caller{request: request, end: end, latencies: make([]time.Duration, 0, 1<<13)})
	}
	if err := r.turn(0); err != nil {
		return nil, err
	}
	r.used = usage{}
	for _, c := range r.callers {
		c.latencies = c.latencies[:0]
	}
	return r, nil
}

func (r *runner) end() {
	for _, c := range r.callers {
		c.end()
	}
}

// turn lets all clients send requests for a time, each at least one.
func (r *runner) turn(length time.Duration) error {
	before := usageNow()
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for _, c := range r.callers {
		wg.Go(func() { c.err = c.callUntil(until) })
	}
	wg.Wait()
	r.used.add(usageNow(), before)
	var errs []error
	for _, c := range r.callers {
		errs = append(errs, c.err)
	}
	return errors.Join(errs...)
}

func (r *runner) sample() sample {
	var latencies []time.Duration
	for _, c := range r.callers {
		latencies = append(latencies, c.latencies...)
	}
	return newSample(r.used, latencies)
}

// caller is a client that sends one request after the other.
type caller struct {
	request   func(n int) error
	end       func()
	sent      int
	latencies []time.Duration
	err       error
}

// callUntil sends at least one request.
func (c *caller) callUntil(until time.Time) error {
	for started := time.Now(); ; {
		err := c.request(c.sent)
		switch {
		case errors.Is(err, errNoMore):
			return nil
		case err != nil:
			return err
		}
		c.sent++
		now := time.Now()
		c.latencies = append(c.latencies, now.Sub(started))
		if started = now; !started.Before(until) {
			return nil
		}
	}
}
