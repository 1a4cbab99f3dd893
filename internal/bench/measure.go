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

// run measures all sides in turn, round after round; who begins changes.
func (e experiment) run(ctx context.Context, rounds int, length time.Duration) ([]result, error) {
	samples := make([][]sample, len(e.sides))  // by side and round
	for round := -1; round < rounds; round++ { // the first is to warm up
		for i := range e.sides {
			turn := (i + max(round, 0)) % len(e.sides)
			s, err := e.sides[turn].run(ctx, round+1, length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.sides[turn].name, err)
			}
			if round >= 0 {
				samples[turn] = append(samples[turn], s)
			}
		}
	}
	var results []result
	for i, s := range e.sides {
		results = append(results, e.result(s.name, samples[i], samples[0]))
	}
	return results, nil
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

// run has all clients make requests, one after the other each, for so long.
func (s side) run(ctx context.Context, round int, length time.Duration) (sample, error) {
	if err := s.prepare(ctx, round); err != nil {
		return sample{}, fmt.Errorf("prepare: %w", err)
	}
	request := make([]func(int) error, len(s.clients))
	for i, c := range s.clients {
		r, end, err := s.begin(ctx, c)
		if err != nil {
			return sample{}, err
		}
		defer end()
		request[i] = r
	}
	times := make([][]time.Duration, len(s.clients))
	for i := range times {
		times[i] = make([]time.Duration, 0, 1<<13)
	}
	runtime.GC() // what came before is not this round's to clean up

	var wg sync.WaitGroup
	errs := make([]error, len(s.clients))
	before := usageNow()
	for i := range s.clients {
		wg.Go(func() { times[i], errs[i] = repeat(request[i], before.at.Add(length), times[i]) })
	}
	wg.Wait()
	used := usageNow().since(before)
	return used.per(slices.Concat(times...)), errors.Join(errs...)
}

// repeat makes requests until a time and appends how long each took.
func repeat(request func(int) error, until time.Time, times []time.Duration) ([]time.Duration, error) {
	begun := time.Now()
	for n := 0; begun.Before(until); n++ {
		if err := request(n); err != nil {
			if errors.Is(err, errNoMore) {
				err = nil
			}
			return times, err
		}
		now := time.Now()
		times = append(times, now.Sub(begun))
		begun = now
	}
	return times, nil
}

// usage is what the process has used up.
type usage struct {
	at            time.Time
	elapsed, cpu  time.Duration
	allocs, bytes uint64
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{at: time.Now(), cpu: cpuTime(), allocs: m.Mallocs, bytes: m.TotalAlloc}
}

func (u usage) since(before usage) usage {
	return usage{
		elapsed: u.at.Sub(before.at), cpu: u.cpu - before.cpu,
		allocs: u.allocs - before.allocs, bytes: u.bytes - before.bytes,
	}
}

// per divides what was used between requests that took so long each.
func (u usage) per(times []time.Duration) sample {
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
