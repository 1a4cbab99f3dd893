//go:build linux

package main

import (
	"fmt"
	"slices"
)

// findings is which peers know which others, by FindPeers or by Watch.
type findings struct {
	by       string  // FindPeers or Watch
	nodes    []*node // in no order
	sighting map[pair]*sighting

	// searches are those in which there was a peer to find that the host was not
	// connected to, fruitful those of them that found one.
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

// addSearch adds what one search gave. From its beginning until it gives a peer, that peer
// is not found. It need not find those that its host is connected to.
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

// addEvent adds what Watch said of a peer.
func (f *findings) addEvent(by string, n *node, l line, at places) {
	if n.name != by {
		there := l.Found[n.id]
		f.sighting[pair{by, n.name}].set(l.Time, len(there) > 0, at.reaches(n, there))
	}
}

// moved says that a node has another address. Behind a NAT it is reached where it was.
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

// missing says who does not find whom now.
func (f *findings) missing() []string {
	var wrong []string
	for p, s := range f.sighting {
		if !s.current.last() {
			wrong = append(wrong, fmt.Sprintf("%s of %s does not give %s", f.by, p.by, p.of))
		}
	}
	return wrong
}

// lapses returns when the first of a pair did not find the second, or, with current, did
// not find it where it is.
func (f *findings) lapses(pairs []pair, current bool, from, to instant) []lapse {
	var all []lapse
	for _, p := range pairs {
		all = append(all, lapses(p.of+" by "+p.by, f.sighting[p].line(current).gaps(from, to))...)
	}
	return all
}
