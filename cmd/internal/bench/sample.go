package main

// The numbers of a round, and of an experiment.

import (
	"math"
	"runtime"
	"slices"
	"time"
)

// usage is what the process has used.
type usage struct {
	elapsed, cpu  time.Duration
	allocs, bytes uint64 // allocated
}

var programStart = time.Now()

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{elapsed: time.Since(programStart), cpu: cpuTime(), allocs: m.Mallocs, bytes: m.TotalAlloc}
}

// add adds the difference between two usages.
func (u *usage) add(after, before usage) {
	u.elapsed += after.elapsed - before.elapsed
	u.cpu += after.cpu - before.cpu
	u.allocs += after.allocs - before.allocs
	u.bytes += after.bytes - before.bytes
}

// sample has the numbers of one side in one round. All but the rate are per request.
type sample struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	CPU       float64 `json:"cpu_us"` // of clients and point together
	Allocs    float64 `json:"allocs"`
	Bytes     float64 `json:"alloc_bytes"`
}

// newSample returns the sample of requests with these latencies, which it sorts.
func newSample(used usage, latencies []time.Duration) sample {
	if len(latencies) == 0 {
		return sample{}
	}
	slices.Sort(latencies)
	n := float64(len(latencies))
	quantile := func(q float64) float64 { return microseconds(latencies[int(q*(n-1))]) }
	return sample{
		PerSecond: math.Round(n / used.elapsed.Seconds()),
		P50:       quantile(0.5),
		P99:       quantile(0.99),
		CPU:       microseconds(used.cpu) / n,
		Allocs:    float64(used.allocs) / n,
		Bytes:     float64(used.bytes) / n,
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// result has the medians of all rounds of a side. A ratio is the median of the ratios of
// the rounds, because other load of the machine affects both sides of a round.
type result struct {
	Request   string `json:"request"`
	Transport string `json:"transport"`
	Stream    string `json:"stream"`
	Side      string `json:"side"`
	// Sizes of a request and of its answer on the wire.
	RequestBytes int `json:"request_bytes"`
	AnswerBytes  int `json:"answer_bytes"`
	sample
	RateRatio float64   `json:"rate_ratio"` // the side's requests per second, divided by the echo's
	CPURatio  float64   `json:"cpu_ratio"`  // the echo's CPU time per request, divided by the side's
	Rounds    []float64 `json:"rate_ratio_rounds"`
}

// newResult returns the result of a side, whose rounds are compared with the echo's.
func newResult(e *experiment, side string, rounds, echo []sample) result {
	r := result{Request: e.request, Transport: e.transport, Stream: e.stream, Side: side}
	r.PerSecond = medianOf(rounds, func(s sample) float64 { return s.PerSecond })
	r.P50 = medianOf(rounds, func(s sample) float64 { return s.P50 })
	r.P99 = medianOf(rounds, func(s sample) float64 { return s.P99 })
	r.CPU = medianOf(rounds, func(s sample) float64 { return s.CPU })
	r.Allocs = medianOf(rounds, func(s sample) float64 { return s.Allocs })
	r.Bytes = medianOf(rounds, func(s sample) float64 { return s.Bytes })
	cpu := make([]float64, len(rounds))
	for i := range rounds {
		r.Rounds = append(r.Rounds, round3(rounds[i].PerSecond/echo[i].PerSecond))
		cpu[i] = echo[i].CPU / rounds[i].CPU
	}
	r.RateRatio, r.CPURatio = median(r.Rounds), round3(median(cpu))
	return r
}

// spread returns the lowest and the highest rate ratio of the rounds.
func (r *result) spread() (low, high float64) {
	if len(r.Rounds) == 0 {
		return 0, 0
	}
	return slices.Min(r.Rounds), slices.Max(r.Rounds)
}

func round3(f float64) float64 { return math.Round(f*1000) / 1000 }

// medianOf returns the median of one number of the samples, rounded to one decimal.
func medianOf(samples []sample, number func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = number(s)
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
