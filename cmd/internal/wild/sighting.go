//go:build linux

package main

import (
	"net/netip"
	"slices"
	"strings"
)

// sighting says when a peer was seen, and when it was seen with its current address.
type sighting struct {
	seen, current timeline
}

func (s *sighting) set(at instant, seen, current bool) {
	s.seen.set(at, seen)
	s.current.set(at, current)
}

func (s *sighting) line(current bool) *timeline {
	if current {
		return &s.current
	}
	return &s.seen
}

// places has the current interface address of each node, by the node's name.
type places map[string]netip.Addr

// registers reports whether a registration has a node's interface address.
func (p places) registers(n *node, r found) bool { return contains(r.Addrs, p[n.name]) }

// reaches reports whether a node can be reached at one of the addresses found. A node behind
// a NAT is reached at the NAT's.
func (p places) reaches(n *node, there []found) bool {
	at := p[n.name]
	if n.nat != nil {
		at = n.nat.external
	}
	return slices.ContainsFunc(there, func(f found) bool { return contains(f.Addrs, at) })
}

// contains reports whether one of some multiaddrs has an IP address.
func contains(addrs []string, ip netip.Addr) bool {
	prefix := "/ip4/" + ip.String() + "/"
	return slices.ContainsFunc(addrs, func(a string) bool { return strings.HasPrefix(a, prefix) })
}

// pair is the names of two nodes. The first looks for the second.
type pair struct{ by, of string }

// lapse is a gap, and the node or pair of nodes that it is about.
type lapse struct {
	gap
	what string
}

func lapses(what string, gaps []gap) []lapse {
	all := make([]lapse, 0, len(gaps))
	for _, g := range gaps {
		all = append(all, lapse{g, what})
	}
	return all
}
