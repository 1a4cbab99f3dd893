//go:build linux

package main

// Evaluating a history: the longest lapses, and whether they are too long.

import (
	"fmt"
	"slices"
	"time"
)

const (
	// steadyBar is the longest time for which a peer may be missing that can reach a point.
	steadyBar = 3 * time.Second
	// backBar is the longest time after which a peer must be back when its network is.
	backBar = 15 * time.Second
	// lateBar is the longest time for which it may be missing in all, from then on.
	lateBar = time.Second
	// lateSearchBar is the same for searches. One of them may miss the peer. Those that find it
	// before the next one is due do not count, although it is not found until then.
	lateSearchBar = 2 * searchEvery
	// keptBar is the longest time for which a peer may be missing that the fault must not
	// affect. A single look of the observer may miss it.
	keptBar = 2 * askEvery
	// mostInVain is the most searches in a row that may miss such a peer.
	mostInVain = 1
)

// group is a set of peers that a fault affects in the same way.
type group struct {
	title string
	nodes []*node
	// steadyPoints: registrations must be there all the time. If false, they must come back
	// in time.
	steadyPoints bool
	// steadySearches is the same for FindPeers and Watch.
	steadySearches bool
	// kept has the transports whose speakers must not be missing at all. If it has all, those
	// that speak different transports must not miss each other either.
	kept []transport
	// moved: the peers change their addresses.
	moved bool
}

// period is the time of a measurement.
type period struct {
	struck instant // when the fault began
	back   instant // when everything was repaired
	end    instant
}

// cell is the result of one measurement.
type cell struct {
	measured bool
	worst    lapse         // zero: there was none
	bar      time.Duration // zero: there is none
	missed   bool
	why      string // why it missed, if that is not the worst lapse
	late     total  // zero: nothing, or there is no bar for it
}

// total is the time for which a node or pair of nodes was missing in all.
type total struct {
	length time.Duration
	bar    time.Duration
	what   string
}

func (t total) missed() bool { return t.length > t.bar }

// row is the measurements of the peers of a group that speak one transport.
type row struct {
	fault     string
	transport string
	points    cell // not registered where peers meet
	search    cell // not found by FindPeers
	watch     cell // not known to Watch
	mesh      cell // without a mesh that was possible
	noMesh    cell // without a mesh
	messages  cell // without messages
}

func (r row) missed() bool {
	return slices.ContainsFunc(r.cells(), func(c cell) bool { return c.missed })
}

func (r row) cells() []cell { return []cell{r.points, r.search, r.watch, r.mesh, r.noMesh, r.messages} }

// steady judges lapses that must be short.
func steady(all []lapse) cell {
	return judge(all, steadyBar, func(l lapse) bool { return l.length() <= steadyBar })
}

// kept judges lapses of peers that must not be missing.
func kept(all []lapse) cell {
	return judge(all, keptBar, func(l lapse) bool { return l.length() <= keptBar })
}

// recovered judges lapses that must end in time after the repair. Those that end later must
// be short, and few enough that nobody is missing for long in all.
func recovered(all []lapse, back instant) cell { return recoveredBut(all, back, 0, lateBar) }

// foundAgain does this for lapses of searches.
func foundAgain(all []lapse, back instant) cell {
	return recoveredBut(all, back, searchEvery, lateSearchBar)
}

// recoveredBut does not add up lapses that are not longer than brief. The others may be as long
// as late in all.
func recoveredBut(all []lapse, back instant, brief, late time.Duration) cell {
	due := back.add(backBar)
	c := judge(all, backBar, func(l lapse) bool {
		return !l.open && l.to <= due || l.length() <= steadyBar
	})
	c.late = longest(slices.DeleteFunc(slices.Clone(all), func(l lapse) bool { return l.length() <= brief }), due)
	c.late.bar = late
	c.missed = c.missed || c.late.missed()
	return c
}

// longest returns the longest total of the lapses of a node or pair of nodes. Time before an
// instant does not count.
func longest(all []lapse, from instant) total {
	lengths := make(map[string]time.Duration)
	var longest total
	for _, l := range all {
		if l.to <= from {
			continue
		}
		lengths[l.what] += l.to.sub(max(l.from, from))
		if n := lengths[l.what]; n > longest.length {
			longest = total{length: n, what: l.what}
		}
	}
	return longest
}

// meshBack judges lapses of meshes.
func meshBack(all []lapse) cell {
	return judge(all, backBar, func(l lapse) bool { return l.length() <= backBar })
}

// unjudged allows all lapses.
func unjudged(all []lapse) cell {
	return judge(all, 0, func(lapse) bool { return true })
}

// judge returns the worst lapse: the longest that is not allowed, or else the longest.
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

// measure returns the rows of a fault. Peers that are in no group are not affected, and must
// not be missing.
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
				rows = append(rows, measureMoved(title+": at the new one", string(t), nodes, pairsOf(nodes, all), h, p))
			}
		}
		rows = append(rows, measureAcross(title, g, others, h, p))
	}
	if len(others) > 0 {
		g := group{steadyPoints: true, steadySearches: true, kept: transports}
		rows = append(rows, measureGroup(fault+": the others", "all", g, others, pairsOf(others, others), h, p))
	}
	return rows
}

func measureGroup(title, transport string, g group, nodes []*node, pairs []pair, h *history, p period) row {
	row := row{
		fault:     title,
		transport: transport,
		mesh:      meshBack(h.meshes.lapses(nodes, p.back, p.end)),
		noMesh:    unjudged(h.meshes.gaps(nodes, p.back, p.end)),
		messages:  unjudged(h.meshes.silences(pairs, p.back, p.end)),
	}
	if g.steadyPoints {
		row.points = steady(h.registrations.lapses(nodes, false, p.struck, p.end))
	} else {
		row.points = recovered(h.registrations.lapses(nodes, false, p.back, p.end), p.back)
	}
	if g.steadySearches {
		row.search = steady(h.searched.lapses(pairs, false, p.struck, p.end))
		row.watch = steady(h.watched.lapses(pairs, false, p.struck, p.end))
	} else {
		row.search = foundAgain(h.searched.lapses(pairs, false, p.back, p.end), p.back)
		row.watch = recovered(h.watched.lapses(pairs, false, p.back, p.end), p.back)
	}
	if g.keeps(transport) {
		row.points = kept(h.registrations.lapses(nodes, false, p.struck, p.end))
		row.watch = kept(h.watched.lapses(pairs, false, p.struck, p.end))
		row.search = notInVain(row.search, h.searched.searches, pairs, p)
	}
	row.search = anySearch(row.search, h.searched.searches, pairs, p)
	return row
}

// keeps reports whether nothing may be missing in a row of the group.
func (g group) keeps(of string) bool {
	return len(g.kept) == len(transports) || slices.Contains(g.kept, transport(of))
}

// notInVain fails a cell if too many searches in a row did not find a peer.
func notInVain(c cell, all searches, pairs []pair, p period) cell {
	if n, what := all.inVain(pairs, p.struck, p.end); n > mostInVain {
		c.missed, c.why = true, fmt.Sprintf("%s: %d searches in a row in vain", what, n)
	}
	return c
}

// anySearch fails a cell if one of its searchers made no search after the repair.
func anySearch(c cell, all searches, pairs []pair, p period) cell {
	if all.fewest(pairs, p.back, p.end) == 0 {
		c.missed, c.why = true, "not every searcher made a search"
	}
	return c
}

// measureAcross measures whether peers of different transports find each other. They may fail
// to although peers of the same transport do not, if they ask different points.
func measureAcross(title string, g group, others []*node, h *history, p period) row {
	named := make(map[string]transport)
	for _, n := range slices.Concat(g.nodes, others) {
		named[n.name] = n.transport
	}
	pairs := slices.DeleteFunc(pairsOf(g.nodes, slices.Concat(g.nodes, others)), func(p pair) bool { return named[p.by] == named[p.of] })
	row := measureGroup(title, "across", g, nil, pairs, h, p)
	row.points, row.mesh, row.noMesh = cell{}, cell{}, cell{}
	return row
}

// measureMoved measures the time until peers are found at their new address, by anyone.
// Searches are measured only for peers on the open network, because a peer behind a NAT is
// reached at the NAT's address.
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
		row.search = anySearch(foundAgain(h.searched.lapses(pairs, true, p.struck, p.end), p.struck), h.searched.searches, pairs, p)
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

// String returns the cell's text in the table. An exclamation mark says that it missed its bar.
func (c cell) String() string {
	switch {
	case !c.measured:
		return "-"
	case c.worst.length() == 0 && !c.missed:
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
