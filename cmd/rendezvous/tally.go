package main

// Counts and latencies of a load test.

import (
	"slices"
	"sync"
	"time"
)

// tally counts the requests of one kind. It is safe for concurrent use.
type tally struct {
	mu      sync.Mutex
	took    []time.Duration // latencies of requests that succeeded
	refused int
	failed  int
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.took = append(t.took, took)
	case isRefusal(err):
		t.refused++
	default:
		t.failed++
	}
}

// result is a tally as it is printed, with latencies in milliseconds.
type result struct {
	Request   string  `json:"request"`
	Sent      int     `json:"sent"`
	OK        int     `json:"ok"`
	Refused   int     `json:"refused"`
	Failed    int     `json:"failed"`
	PerSecond float64 `json:"ok_per_second"`
	P50       float64 `json:"p50_ms"`
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p99.9_ms"`
	Max       float64 `json:"max_ms"`
}

func (t *tally) result(name string, elapsed time.Duration) result {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.took)
	r := result{
		Request: name,
		Sent:    len(t.took) + t.refused + t.failed,
		OK:      len(t.took),
		Refused: t.refused,
		Failed:  t.failed,
		P50:     percentile(t.took, 0.5),
		P90:     percentile(t.took, 0.9),
		P99:     percentile(t.took, 0.99),
		P999:    percentile(t.took, 0.999),
		Max:     percentile(t.took, 1),
	}
	if elapsed > 0 {
		r.PerSecond = float64(r.OK) / elapsed.Seconds()
	}
	return r
}

// percentile returns, in milliseconds, the smallest value that at least a share p of
// the sorted values does not exceed. It returns 0 if there are none.
func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(float64(len(sorted))*p+0.999_999) - 1
	return milliseconds(sorted[min(max(i, 0), len(sorted)-1)])
}
