//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// namespaces are those in which each peer is registered.
var namespaces = []string{topicNamespace, keptNamespace}

// registrations is what the points hold, as the observer sees it.
type registrations struct {
	nodes    []*node
	points   []string // names of those that the observer asks
	held     map[held]*sighting
	meeting  map[string][]string // by namespace: the points at which its peers meet
	answered map[string]instant  // by point: when it was last asked, if it answered
	lateness time.Duration       // the longest time by which the observer asked too late
}

// held is a registration that a point may have.
type held struct{ point, namespace, node string } // names

func newRegistrations(l *layout) *registrations {
	r := &registrations{
		nodes:    l.nodes,
		held:     make(map[held]*sighting),
		meeting:  make(map[string][]string),
		answered: make(map[string]instant),
	}
	for _, p := range l.points {
		if p.hostile {
			continue
		}
		r.points = append(r.points, p.name)
		for _, ns := range namespaces {
			for _, n := range l.nodes {
				r.held[held{p.name, ns, n.name}] = new(sighting)
			}
		}
	}
	return r
}

// add adds an answer of a point, or that there is none.
func (r *registrations) add(l line, at places) {
	if last := r.answered[l.Point]; last != 0 {
		r.lateness = max(r.lateness, l.Began.sub(last)-askEvery)
	}
	r.answered[l.Point] = l.Began
	if l.Kind == kindNoAnswer {
		r.answered[l.Point] = 0 // waiting for it is not being late
	}
	for _, n := range r.nodes {
		for _, ns := range namespaces {
			s := r.held[held{l.Point, ns, n.name}]
			if l.Kind == kindNoAnswer {
				s.set(l.Began, false, false)
				continue
			}
			i := slices.IndexFunc(l.Found[n.id], func(f found) bool { return f.Namespace == ns })
			s.set(l.Time, i >= 0, i >= 0 && at.registers(n, l.Found[n.id][i]))
		}
	}
}

// moved says that a node has another address.
func (r *registrations) moved(n *node, at instant) {
	for h, s := range r.held {
		if h.node == n.name {
			s.current.set(at, false)
		}
	}
}

// meet takes those points for the ones at which the peers of a namespace meet that hold
// registrations of it now. Peers look for each other there: one that is registered at
// another point is not found as long as these answer.
func (r *registrations) meet() {
	for _, ns := range namespaces {
		r.meeting[ns] = slices.DeleteFunc(slices.Clone(r.points), func(p string) bool {
			return !slices.ContainsFunc(r.nodes, func(n *node) bool { return r.held[held{p, ns, n.name}].seen.last() })
		})
	}
}

// busiest returns a point at which the peers of all namespaces meet, "" if there is none.
func (r *registrations) busiest() string {
	for _, p := range r.points {
		if !slices.ContainsFunc(namespaces, func(ns string) bool { return !slices.Contains(r.meeting[ns], p) }) {
			return p
		}
	}
	return ""
}

// missing says which peers are registered nowhere now, and what they say of it.
func (r *registrations) missing(states map[string]string) []string {
	var wrong []string
	for _, n := range r.nodes {
		for _, ns := range namespaces {
			if !slices.ContainsFunc(r.points, func(p string) bool { return r.held[held{p, ns, n.name}].current.last() }) {
				wrong = append(wrong, fmt.Sprintf("%s is at no point in %s (it says: %s)", n.name, ns, states[n.name]))
			}
		}
	}
	return wrong
}

// lapses returns when nodes were registered at none of the points at which they meet
// others, or, with current, at none with the address that they have.
func (r *registrations) lapses(nodes []*node, current bool, from, to instant) []lapse {
	var all []lapse
	for _, n := range nodes {
		for _, ns := range namespaces {
			var lines []*timeline
			for _, p := range r.meeting[ns] {
				lines = append(lines, r.held[held{p, ns, n.name}].line(current))
			}
			all = append(all, lapses(n.name+" in "+ns, anyOf(lines...).gaps(from, to))...)
		}
	}
	return all
}
