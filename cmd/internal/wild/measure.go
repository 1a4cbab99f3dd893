//go:build linux

package main

// What is made of a history: how long what was missing, and whether that is too long.

import (
	"fmt"
	"slices"
	"time"
)

const (
	// steadyBar is for how long a peer may be missing while it can reach a point.
	steadyBar = 3 * time.Second
	// backBar is after which time at most everything is back when the network is.
	backBar = 15 * time.Second
)

// group is the peers to which a fault happens in one way.
type group struct {
	title string
	nodes []*node
	// held: the peers' registrations must be there all the time. Otherwise they have
	// to be back in time.
	held bool
	// searching: searches must find everyone all the time.
	searching bool
	// moved: the peers have other addresses.
	moved bool
}

// period is the time that is looked at.
type period struct {
	struck instant // when the fault began
	back   instant // when everything else was back
	end    instant
}

// cell is one measurement: the worst that happened.
type cell struct {
	measured bool
	worst    lapse         // zero: nothing was missing
	bar      time.Duration // 0: none
	missed   bool
}

// row is what happened to the peers of a group that speak one transport.
type row struct {
	fault     string
	transport string
	points    cell // registered at none of the points at which its peers meet
	search    cell // not found by FindPeers
	watch     cell // not known to Watch
	mesh      cell // without a mesh
	messages  cell // messages did not arrive
}

func (r row) missed() bool {
	return slices.ContainsFunc(r.cells(), func(c cell) bool { return c.missed })
}

func (r row) cells() []cell { return []cell{r.points, r.search, r.watch, r.mesh, r.messages} }

// steady judges what must hold all the time.
func steady(all []lapse) cell {
	return judge(all, steadyBar, func(l lapse) bool { return l.length() <= steadyBar })
}

// recovered judges what must be back a while after everything else, and hold from then on.
func recovered(all []lapse, back instant) cell {
	return judge(all, backBar, func(l lapse) bool {
		return l.length() <= steadyBar || !l.open && l.to <= back.add(backBar)
	})
}

// short judges what may be lost at any time and must be back soon.
func short(all []lapse) cell {
	return judge(all, backBar, func(l lapse) bool { return l.length() <= backBar })
}

// seenOnly judges nothing.
func seenOnly(all []lapse) cell {
	return judge(all, 0, func(lapse) bool { return true })
}

// judge finds the worst of some lapses: the longest of those that are not allowed, or
// the longest.
func judge(all []lapse, bar time.Duration, allowed func(lapse) bool) cell {
	c := cell{measured: true, bar: bar}
	for _, l := range all {
		missed := !allowed(l)
		if missed && !c.missed || missed == c.missed && l.length() > c.worst.length() {
			c.worst, c.missed = l, missed
		}
	}
	return c
}

// measure returns the rows of a fault. Peers that are in no group are the others: to
// them nothing happens, and so they should notice nothing.
func measure(fault string, all []*node, groups []group, h *history, p period) []row {
	others := slices.Clone(all)
	for _, g := range groups {
		others = slices.DeleteFunc(others, func(n *node) bool { return slices.Contains(g.nodes, n) })
	}
	var rows []row
	for _, g := range groups {
		title := fault
		if g.title != "" {
			title += ", " + g.title
		}
		for _, t := range transports {
			speaks := func(n *node) bool { return n.transport == t }
			nodes := only(g.nodes, speaks)
			if len(nodes) == 0 {
				continue
			}
			pairs := pairsOf(nodes, slices.Concat(nodes, only(others, speaks)))
			rows = append(rows, measureGroup(title, string(t), g, nodes, pairs, h, p))
			if g.moved {
				rows = append(rows, measureMoved(title+": at the new one", string(t), nodes, pairs, h, p))
			}
		}
		rows = append(rows, measureAcross(title, g, others, h, p))
	}
	if len(others) > 0 {
		g := group{held: true, searching: true}
		rows = append(rows, measureGroup(fault+": the others", "all", g, others, pairsOf(others, others), h, p))
	}
	return rows
}

func measureGroup(title, transport string, g group, nodes []*node, pairs []pair, h *history, p period) row {
	row := row{
		fault:     title,
		transport: transport,
		mesh:      short(h.meshes.lapses(nodes, p.back, p.end)),
		messages:  seenOnly(h.meshes.silences(pairs, p.back, p.end)),
	}
	if g.held {
		row.points = steady(h.registrations.lapses(nodes, false, p.struck, p.end))
	} else {
		row.points = recovered(h.registrations.lapses(nodes, false, p.back, p.end), p.back)
	}
	if g.searching {
		row.search = steady(h.searched.lapses(pairs, false, p.struck, p.end))
		row.watch = steady(h.watched.lapses(pairs, false, p.struck, p.end))
	} else {
		row.search = recovered(h.searched.lapses(pairs, false, p.back, p.end), p.back)
		row.watch = recovered(h.watched.lapses(pairs, false, p.back, p.end), p.back)
	}
	return row
}

// measureAcross measures what peers of different transports find of each other. It differs
// from what those of one transport find where they ask different points.
func measureAcross(title string, g group, others []*node, h *history, p period) row {
	named := make(map[string]transport)
	for _, n := range slices.Concat(g.nodes, others) {
		named[n.name] = n.transport
	}
	pairs := slices.DeleteFunc(pairsOf(g.nodes, slices.Concat(g.nodes, others)), func(p pair) bool { return named[p.by] == named[p.of] })
	row := measureGroup(title, "across", g, nil, pairs, h, p)
	row.points, row.mesh = cell{}, cell{}
	return row
}

// measureMoved measures until peers are found at their new address. What a search finds
// is looked at where the peers are on the open network: behind a NAT they are reached
// where they were.
func measureMoved(title, transport string, nodes []*node, pairs []pair, h *history, p period) row {
	row := row{
		fault:     title,
		transport: transport,
		points:    recovered(h.registrations.lapses(nodes, true, p.struck, p.end), p.struck),
	}
	if nodes[0].nat == nil {
		names := make([]string, 0, len(nodes))
		for _, n := range nodes {
			names = append(names, n.name)
		}
		pairs = slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return !slices.Contains(names, p.of) })
		row.search = recovered(h.searched.lapses(pairs, true, p.struck, p.end), p.struck)
		row.watch = recovered(h.watched.lapses(pairs, true, p.struck, p.end), p.struck)
	}
	return row
}

func only(nodes []*node, is func(*node) bool) []*node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return !is(n) })
}

// pairsOf returns the pairs of a node and another, in both directions.
func pairsOf(nodes, others []*node) []pair {
	seen := make(map[pair]struct{})
	var pairs []pair
	for _, n := range nodes {
		for _, other := range others {
			for _, p := range []pair{{n.name, other.name}, {other.name, n.name}} {
				if _, twice := seen[p]; n != other && !twice {
					seen[p] = struct{}{}
					pairs = append(pairs, p)
				}
			}
		}
	}
	return pairs
}

// String is what a table says.
func (c cell) String() string {
	switch {
	case !c.measured:
		return "-"
	case c.worst.length() == 0:
		return "0"
	}
	text := fmt.Sprintf("%.1f s", c.worst.length().Seconds())
	if c.worst.open {
		text = ">" + text
	}
	if c.missed {
		text += " !"
	}
	return text
}
