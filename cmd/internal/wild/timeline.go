//go:build linux

package main

import (
	"slices"
	"time"
)

// timeline says when something was true. It is false before the first change.
type timeline struct {
	changes []change // in order of time; neighbours differ
}

type change struct {
	at    instant
	value bool
}

// set sets the value from an instant on. An instant before the last change is replaced by
// the last change's.
func (t *timeline) set(at instant, value bool) {
	if t.last() == value {
		return
	}
	if n := len(t.changes); n > 0 {
		at = max(at, t.changes[n-1].at)
	}
	t.changes = append(t.changes, change{at, value})
}

// last returns the value after the last change.
func (t *timeline) last() bool {
	n := len(t.changes)
	return n > 0 && t.changes[n-1].value
}

// gap is a time in which a timeline is false.
type gap struct {
	from, to instant
	open     bool // it lasts until the end of the measurement
}

func (g gap) length() time.Duration { return g.to.sub(g.from) }

// gaps returns the gaps between two instants.
func (t *timeline) gaps(from, to instant) []gap {
	var gaps []gap
	begun := from // of the gap that is being looked at
	value := false
	for _, c := range t.changes {
		if c.at >= to {
			break
		}
		if c.value && c.at > begun {
			gaps = append(gaps, gap{from: begun, to: c.at})
		}
		value, begun = c.value, max(c.at, from)
	}
	if !value && to > begun {
		gaps = append(gaps, gap{from: begun, to: to, open: true})
	}
	return gaps
}

// anyOf returns a timeline that is true when at least one of several is.
func anyOf(lines ...*timeline) *timeline {
	type step struct {
		change
		line int
	}
	var steps []step
	for i, line := range lines {
		for _, c := range line.changes {
			steps = append(steps, step{c, i})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at.sub(b.at)) })

	merged := new(timeline)
	values := make([]bool, len(lines))
	for i, s := range steps {
		values[s.line] = s.value
		if next := i + 1; next < len(steps) && steps[next].at == s.at {
			continue // changes at the same instant count together
		}
		merged.set(s.at, slices.Contains(values, true))
	}
	return merged
}

// arrivals is a timeline of something that comes regularly, such as messages. It is false
// from the instant at which one was due and did not come.
type arrivals struct {
	every time.Duration // how often something is due
	last  instant       // zero before the first
	line  timeline
}

// add records an arrival.
func (a *arrivals) add(at instant) {
	a.check(at)
	a.last = max(a.last, at)
	a.line.set(at, true)
}

// check makes the timeline false if two in a row have not come.
func (a *arrivals) check(at instant) {
	if a.last != 0 && at.sub(a.last) > 2*a.every {
		a.line.set(a.last.add(a.every), false)
	}
}

// gaps returns the gaps between two instants.
func (a *arrivals) gaps(from, to instant) []gap {
	a.check(to)
	return a.line.gaps(from, to)
}
