//go:build linux

package main

import (
	"net/netip"
	"slices"
	"strings"
)

// sighting says when a peer was seen somewhere, and when it was with an address that it
// has now.
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

// places says which address each node has on its interface now, by the node's name.
type places map[string]netip.Addr

// registers reports whether a registration has the address of a node's interface.
func (p places) registers(n *node, r found) bool { return contains(r.Addrs, p[n.name]) }

// reaches reports whether a node is reached at one of the addresses found: at that of its
// NAT, if there is one, from everywhere.
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

// pair is a node and another that it looks for, by name.
type pair struct{ by, of string }

// lapse is a time in which something was not as it should be, and what that was.
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
