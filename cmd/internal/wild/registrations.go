//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// namespaces are the namespaces in which every peer registers.
var namespaces = []string{topicNamespace, keptNamespace}

// registrations records the registrations that the points hold, as the observer sees them.
type registrations struct {
	nodes    []*node
	points   []string // names of the points that the observer asks
	held     map[place]*sighting
	meeting  map[string][]string // by namespace: the points at which its peers meet
	answered map[string]instant  // by point: when it was last asked, 0 if it did not answer
	lateness time.Duration       // the longest time by which the observer was late
}

// place is where a registration of a node can be. All fields are names.
type place struct{ point, namespace, node string }

func newRegistrations(l *layout) *registrations {
	r := &registrations{
		nodes:    l.nodes,
		held:     make(map[place]*sighting),
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
				r.held[place{p.name, ns, n.name}] = new(sighting)
			}
		}
	}
	return r
}

// add records an answer of a point, or a missing answer.
func (r *registrations) add(l line, at places) {
	if last := r.answered[l.Point]; last != 0 {
		r.lateness = max(r.lateness, l.Began.sub(last)-askEvery)
	}
	r.answered[l.Point] = l.Began
	if l.Kind == kindNoAnswer {
		r.answered[l.Point] = 0 // the observer waited for the answer, and is not late
	}
	for _, n := range r.nodes {
		for _, ns := range namespaces {
			s := r.held[place{l.Point, ns, n.name}]
			if l.Kind == kindNoAnswer {
				s.set(l.Began, false, false)
				continue
			}
			i := slices.IndexFunc(l.Found[n.id], func(f found) bool { return f.Namespace == ns })
			s.set(l.Time, i >= 0, i >= 0 && at.registers(n, l.Found[n.id][i]))
		}
	}
}

// moved records that a node has another address.
func (r *registrations) moved(n *node, since instant) {
	for at, s := range r.held {
		if at.node == n.name {
			s.current.set(since, false)
		}
	}
}

// meet records the points at which the peers of each namespace meet. These are the points
// that have registrations of the namespace now. Clients ask them first, and so do not find
// a peer that is registered only at another point.
func (r *registrations) meet() {
	for _, ns := range namespaces {
		r.meeting[ns] = slices.DeleteFunc(slices.Clone(r.points), func(p string) bool {
			return !slices.ContainsFunc(r.nodes, func(n *node) bool { return r.held[place{p, ns, n.name}].seen.last() })
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

// missing lists the peers that are not registered now, with their states.
func (r *registrations) missing(states map[string]string) []string {
	var wrong []string
	for _, n := range r.nodes {
		for _, ns := range namespaces {
			if !slices.ContainsFunc(r.points, func(p string) bool { return r.held[place{p, ns, n.name}].current.last() }) {
				wrong = append(wrong, fmt.Sprintf("%s is at no point in %s (it says: %s)", n.name, ns, states[n.name]))
			}
		}
	}
	return wrong
}

// lapses returns the times in which nodes were not registered at any of the points at which
// peers meet. With current, only registrations with the current address count.
func (r *registrations) lapses(nodes []*node, current bool, from, to instant) []lapse {
	var all []lapse
	for _, n := range nodes {
		for _, ns := range namespaces {
			var lines []*timeline
			for _, p := range r.meeting[ns] {
				lines = append(lines, r.held[place{p, ns, n.name}].line(current))
			}
			all = append(all, lapses(n.name+" in "+ns, anyOf(lines...).gaps(from, to))...)
		}
	}
	return all
}
