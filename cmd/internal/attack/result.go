package main

// The result of an attack, and the limits that it is checked against.

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxP99      = 250 * time.Millisecond // of honest requests
	maxGrow     = 128 << 20              // bytes, of the heap and of the stacks during an attack
	cleanupTime = time.Minute            // until nothing of an attack is left
	maxLogLines = 10                     // for each attack
)

// result is what one attack did.
type result struct {
	name     string
	sent     int64 // by the attackers
	stats    *honestStats
	grow     peak // compared with the time before the attack
	egress   egress
	cleanup  time.Duration // how long it took until nothing was left
	leftover string        // what was left after cleanupTime; empty: nothing
	logLines int64
	lastLine string
}

// egress is how many bytes the point has written to the attacker who got most and to all of
// them, and how many it may have.
type egress struct{ most, all, maxMost, maxAll int64 }

// newEgress returns the egress to attackers in the time since their connections were made.
func newEgress(a *attackers, d time.Duration) egress {
	most, all := a.sentTo()
	// A request is charged what its answer is expected to have, and settled afterwards. So
	// each peer may get what it may have under way at a time beyond its budget.
	const underWay = 2 * (4 << 20)
	each := egressBurst + int64(d.Seconds()*egressRate)
	return egress{
		most: most, all: all, maxMost: each + underWay,
		maxAll: a.attack.from.share(len(a.all))*each + int64(len(a.all))*underWay,
	}
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
	if r.grow.heap > maxGrow {
		miss("the heap grew by %d MiB", r.grow.heap>>20)
	}
	if r.grow.stacks > maxGrow {
		miss("the stacks grew by %d MiB", r.grow.stacks>>20)
	}
	if r.egress.most > r.egress.maxMost {
		miss("one attacker was sent %d MiB, the budget is %d MiB", r.egress.most>>20, r.egress.maxMost>>20)
	}
	if r.egress.all > r.egress.maxAll {
		miss("the attackers were sent %d MiB, their budget is %d MiB", r.egress.all>>20, r.egress.maxAll>>20)
	}
	if r.leftover != "" {
		miss("still there after %v: %s", cleanupTime, r.leftover)
	}
	if r.logLines > maxLogLines {
		miss("%d log lines above debug level, the last one: %s", r.logLines, r.lastLine)
	}
	return errors.Join(missed...)
}
