//go:build linux

package main

import (
	"fmt"
	"slices"
)

// findings records which peers know which others, from FindPeers or from Watch.
type findings struct {
	by       string  // FindPeers or Watch
	nodes    []*node // in no order
	sighting map[pair]*sighting
	searches searches // none of Watch
}

func newFindings(by string, l *layout) *findings {
	f := &findings{by: by, nodes: l.nodes, sighting: make(map[pair]*sighting)}
	for _, n := range l.nodes {
		for _, other := range l.nodes {
			if n != other {
				f.sighting[pair{n.name, other.name}] = new(sighting)
			}
		}
	}
	return f
}

// addSearch records a search by the searcher on a node's machine. A peer counts as not found
// from the beginning of the search until the search returns it.
func (f *findings) addSearch(by string, l line, at places) error {
	made := search{by: by, began: l.Began, ended: l.Time, found: make(map[string]bool), asked: l.Asked}
	for _, n := range f.nodes {
		if slices.Contains(l.Peers, n.id) {
			return fmt.Errorf("the searcher of %s is connected to %s", by, n.name)
		}
		if n.name == by {
			continue
		}
		s := f.sighting[pair{by, n.name}]
		s.set(l.Began, false, false)
		if there := l.Found[n.id]; len(there) > 0 {
			made.found[n.name] = true
			s.set(there[0].Time, true, at.reaches(n, there))
		}
	}
	f.searches = append(f.searches, made)
	return nil
}

// addEvent records an event of Watch.
func (f *findings) addEvent(by string, n *node, l line, at places) {
	if n.name != by {
		there := l.Found[n.id]
		f.sighting[pair{by, n.name}].set(l.Time, len(there) > 0, at.reaches(n, there))
	}
}

// moved records that a node has another address. The address at which others reach it does
// not change if it is behind a NAT.
func (f *findings) moved(n *node, at instant) {
	if n.nat != nil {
		return
	}
	for p, s := range f.sighting {
		if p.of == n.name {
			s.current.set(at, false)
		}
	}
}

// missing lists the pairs whose first does not know the second now.
func (f *findings) missing() []string {
	var wrong []string
	for p, s := range f.sighting {
		if !s.current.last() {
			wrong = append(wrong, fmt.Sprintf("%s of %s does not give %s", f.by, p.by, p.of))
		}
	}
	return wrong
}

// lapses returns the times in which the first of a pair did not know the second. With
// current, the first must know an address at which the second can be reached.
func (f *findings) lapses(pairs []pair, current bool, from, to instant) []lapse {
	var all []lapse
	for _, p := range pairs {
		all = append(all, lapses(p.of+" by "+p.by, f.sighting[p].line(current).gaps(from, to))...)
	}
	return all
}
