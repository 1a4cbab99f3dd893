package main

// A round, and the median of many.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// sample is what one round of one side came to, each per request but the first.
type sample struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	CPU       float64 `json:"cpu_us"` // of clients and point together
	Allocs    float64 `json:"allocs"`
	Bytes     float64 `json:"alloc_bytes"`
}

// result is the median of all rounds of a side. Ratios are medians of the rounds'
// own ratios, so that a noisy neighbour meets both sides of each.
type result struct {
	Request   string `json:"request"`
	Transport string `json:"transport"`
	Stream    string `json:"stream"`
	Side      string `json:"side"`
	sample
	// Rate is the side's requests per second over the echo's. CPU is the echo's
	// CPU time per request over the side's.
	RateRatio float64   `json:"rate_ratio"`
	CPURatio  float64   `json:"cpu_ratio"`
	Rounds    []float64 `json:"rate_ratio_rounds"`
}

// run measures all sides, round after round.
func (e experiment) run(ctx context.Context, rounds int, length time.Duration) ([]result, error) {
	samples := make([][]sample, len(e.sides)) // by side and round
	for n := range rounds {
		round, err := e.round(ctx, n, length)
		if err != nil {
			return nil, err
		}
		for i, s := range round {
			samples[i] = append(samples[i], s)
		}
	}
	var results []result
	for i, s := range e.sides {
		results = append(results, e.result(s.name, samples[i], samples[0]))
	}
	return results, nil
}

// slice is how long one side has its turn. It is short, so that whatever else the
// machine does meets all sides.
const slice = 25 * time.Millisecond

// round gives each side its turn again and again, until each has had so much time.
func (e experiment) round(ctx context.Context, n int, length time.Duration) (samples []sample, err error) {
	var turns []*turns
	defer func() {
		for _, t := range turns {
			t.end()
		}
	}()
	for _, s := range e.sides {
		t, err := s.start(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		turns = append(turns, t)
	}
	runtime.GC() // what came before is not this round's to clean up
	for k := range max(1, int(length/slice)) {
		for i := range turns { // who begins changes
			if err := turns[(i+k)%len(turns)].take(slice); err != nil {
				return nil, fmt.Errorf("%s: %w", e.sides[(i+k)%len(turns)].name, err)
			}
		}
	}
	for _, t := range turns {
		samples = append(samples, t.sample())
	}
	return samples, nil
}

func (e experiment) result(name string, mine, echo []sample) result {
	r := result{Request: e.Request, Transport: e.Transport, Stream: e.Stream, Side: name}
	r.PerSecond = medianOf(mine, func(s sample) float64 { return s.PerSecond })
	r.P50 = medianOf(mine, func(s sample) float64 { return s.P50 })
	r.P99 = medianOf(mine, func(s sample) float64 { return s.P99 })
	r.CPU = medianOf(mine, func(s sample) float64 { return s.CPU })
	r.Allocs = medianOf(mine, func(s sample) float64 { return s.Allocs })
	r.Bytes = medianOf(mine, func(s sample) float64 { return s.Bytes })
	cpu := make([]float64, len(mine))
	for i := range mine {
		r.Rounds = append(r.Rounds, round3(mine[i].PerSecond/echo[i].PerSecond))
		cpu[i] = echo[i].CPU / mine[i].CPU
	}
	r.RateRatio, r.CPURatio = median(r.Rounds), round3(median(cpu))
	return r
}

// turns are those of one side in one round.
type turns struct {
	clients []*caller
	used    usage
}

// caller is a client that makes requests.
type caller struct {
	request func(n int) error
	end     func()
	made    int
	times   []time.Duration // how long each took
	err     error
}

// start readies a side for a round, with one request of each client to warm up.
func (s side) start(ctx context.Context, round int) (*turns, error) {
	if err := s.prepare(ctx, round); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	t := &turns{}
	for _, c := range s.clients {
		request, end, err := s.begin(ctx, c)
		if err != nil {
			return nil, err
		}
		t.clients = append(t.clients, &caller{request: request, end: end, times: make([]time.Duration, 0, 1<<13)})
	}
	if err := t.take(0); err != nil {
		return nil, err
	}
	t.used = usage{}
	for _, c := range t.clients {
		c.times = c.times[:0]
	}
	return t, nil
}

func (t *turns) end() {
	for _, c := range t.clients {
		c.end()
	}
}

// take has all clients make requests, one after the other each, for so long.
func (t *turns) take(length time.Duration) error {
	before := usageNow()
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for _, c := range t.clients {
		wg.Go(func() { c.err = c.repeat(until) })
	}
	wg.Wait()
	t.used.add(usageNow(), before)
	var errs []error
	for _, c := range t.clients {
		errs = append(errs, c.err)
	}
	return errors.Join(errs...)
}

// repeat makes requests until a time, but one at least.
func (c *caller) repeat(until time.Time) error {
	for begun := time.Now(); ; {
		err := c.request(c.made)
		switch {
		case errors.Is(err, errNoMore):
			return nil
		case err != nil:
			return err
		}
		c.made++
		now := time.Now()
		c.times = append(c.times, now.Sub(begun))
		if begun = now; !begun.Before(until) {
			return nil
		}
	}
}

func (t *turns) sample() sample {
	var times []time.Duration
	for _, c := range t.clients {
		times = append(times, c.times...)
	}
	return t.used.per(times)
}

// usage is what the process has used up.
type usage struct {
	elapsed, cpu  time.Duration
	allocs, bytes uint64
}

// begun is where usage counts elapsed time from.
var begun = time.Now()

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{elapsed: time.Since(begun), cpu: cpuTime(), allocs: m.Mallocs, bytes: m.TotalAlloc}
}

// add adds what was used between two moments.
func (u *usage) add(after, before usage) {
	u.elapsed += after.elapsed - before.elapsed
	u.cpu += after.cpu - before.cpu
	u.allocs += after.allocs - before.allocs
	u.bytes += after.bytes - before.bytes
}

// per divides what was used between requests that took so long each.
func (u *usage) per(times []time.Duration) sample {
	if len(times) == 0 {
		return sample{}
	}
	slices.Sort(times)
	n := float64(len(times))
	quantile := func(q float64) float64 { return microseconds(times[int(q*(n-1))]) }
	return sample{
		PerSecond: math.Round(n / u.elapsed.Seconds()),
		P50:       quantile(0.5),
		P99:       quantile(0.99),
		CPU:       microseconds(u.cpu) / n,
		Allocs:    float64(u.allocs) / n,
		Bytes:     float64(u.bytes) / n,
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func round3(f float64) float64 { return math.Round(f*1000) / 1000 }

func medianOf(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return math.Round(median(values)*10) / 10
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
