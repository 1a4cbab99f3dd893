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

	// searches counts the searches by hosts that were not connected to all peers, and
	// fruitful those of them that found a peer that the host was not connected to.
	searches, fruitful int
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

// addSearch records a search. A peer counts as not found from the beginning of the search
// until the search returns it. A search need not return peers that the host is connected to.
func (f *findings) addSearch(by string, l line, at places) {
	strangers, given := 0, 0
	for _, n := range f.nodes {
		if n.name == by {
			continue
		}
		s := f.sighting[pair{by, n.name}]
		if slices.Contains(l.Connected, n.id) {
			s.set(l.Began, true, true)
			continue
		}
		strangers++
		s.set(l.Began, false, false)
		if there := l.Found[n.id]; len(there) > 0 {
			given++
			s.set(there[0].Time, true, at.reaches(n, there))
		}
	}
	if strangers > 0 {
		f.searches++
	}
	if given > 0 {
		f.fruitful++
	}
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
