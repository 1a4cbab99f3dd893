package main

// The result of an attack, and the limits that it is checked against.

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxP99      = 250 * time.Millisecond // of honest requests
	maxHeapGrow = 128 << 20              // bytes, during an attack
	cleanupTime = time.Minute            // until nothing of an attack is left
	maxLogLines = 10                     // for each attack
)

// result is what one attack did.
type result struct {
	name     string
	sent     int64 // by the attackers
	stats    *honestStats
	heapGrow int64         // bytes, at most, compared with the heap before the attack
	cleanup  time.Duration // how long it took until nothing was left
	leftover string        // what was left after cleanupTime; empty: nothing
	logLines int64
	lastLine string
}

// check returns an error for every limit that was missed.
func (r *result) check() error {
	var missed []error
	miss := func(format string, args ...any) {
		missed = append(missed, fmt.Errorf("%s: "+format, append([]any{r.name}, args...)...))
	}
	succeeded, errs := r.stats.counts()
	if len(errs) > 0 {
		miss("%d honest requests failed, the first with: %w", len(errs), errs[0])
	}
	if succeeded == 0 {
		miss("no honest request was answered")
	}
	if p99 := r.stats.percentile(99); p99 > maxP99 {
		miss("the 99th percentile of honest requests is %v", p99)
	}
	if r.heapGrow > maxHeapGrow {
		miss("the heap grew by %d MiB", r.heapGrow>>20)
	}
	if r.leftover != "" {
		miss("still there after %v: %s", cleanupTime, r.leftover)
	}
	if r.logLines > maxLogLines {
		miss("%d log lines above debug level, the last one: %s", r.logLines, r.lastLine)
	}
	return errors.Join(missed...)
}
