package main

// What honest peers experience.

import (
	"slices"
	"sync"
	"time"
)

// honestStats has the latencies and the errors of honest requests.
type honestStats struct {
	mu        sync.Mutex
	latencies []time.Duration
	errs      []error
}

// record records a request. It ignores the latency of one that failed.
func (s *honestStats) record(latency time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	s.latencies = append(s.latencies, latency)
}

func (s *honestStats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies, s.errs = nil, nil
}

// counts returns the number of requests that succeeded, and all errors.
func (s *honestStats) counts() (succeeded int, errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.latencies), slices.Clone(s.errs)
}

// percentile returns the pth percentile of the latencies, or 0 if there are none.
func (s *honestStats) percentile(p int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.latencies) == 0 {
		return 0
	}
	slices.Sort(s.latencies)
	return s.latencies[(len(s.latencies)-1)*p/100]
}
