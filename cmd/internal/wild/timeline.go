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

// set says what is true from an instant on. An instant before the last change counts
// as that change's.
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

// gap is a time in which something was not true.
type gap struct {
	from, to instant
	open     bool // it had not ended when the measurement did
}

func (g gap) length() time.Duration { return g.to.sub(g.from) }

// gaps returns the times between two instants in which the timeline is false.
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
			continue // what happens at one instant counts as a whole
		}
		merged.set(s.at, slices.Contains(values, true))
	}
	return merged
}

// arrivals is a timeline of something that comes again and again, such as messages. It
// is false from the moment at which the next was due and did not come.
type arrivals struct {
	every time.Duration // how often something is due
	last  instant       // zero before the first
	line  timeline
}

// add says that something has come.
func (a *arrivals) add(at instant) {
	a.lapse(at)
	a.last = max(a.last, at)
	a.line.set(at, true)
}

// lapse looks whether something is overdue. It is when two in a row have not come.
func (a *arrivals) lapse(at instant) {
	if a.last != 0 && at.sub(a.last) > 2*a.every {
		a.line.set(a.last.add(a.every), false)
	}
}

// gaps is gaps of the timeline, with what is overdue at the end.
func (a *arrivals) gaps(from, to instant) []gap {
	a.lapse(to)
	return a.line.gaps(from, to)
}
