//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func lapseOf(from, to float64) lapse { return lapse{gap{from: second(from), to: second(to)}, "x"} }

func openLapse(from, to float64) lapse {
	l := lapseOf(from, to)
	l.open = true
	return l
}

// everyFour returns lapses that begin every four seconds between two instants.
func everyFour(length, from, to float64) []lapse {
	var all []lapse
	for s := from; s+length <= to; s += 4 {
		all = append(all, lapseOf(s, s+length))
	}
	return all
}

func TestJudging(t *testing.T) {
	since10 := func(all []lapse) cell { return recovered(all, second(10)) }
	found10 := func(all []lapse) cell { return foundAgain(all, second(10)) }
	for name, test := range map[string]struct {
		judge  func([]lapse) cell
		lapses []lapse
		want   string
	}{
		"nothing":                             {steady, nil, "0"},
		"short enough":                        {steady, []lapse{lapseOf(1, 2), lapseOf(5, 8)}, "3.0 s"},
		"too long":                            {steady, []lapse{lapseOf(1, 2), lapseOf(5, 8.2), lapseOf(9, 9.5)}, "3.2 s !"},
		"to the end":                          {steady, []lapse{openLapse(5, 9)}, ">4.0 s !"},
		"begins at the end":                   {steady, []lapse{openLapse(8, 9)}, ">1.0 s"},
		"back in time":                        {since10, []lapse{lapseOf(10, 25)}, "15.0 s"},
		"back too late":                       {since10, []lapse{lapseOf(10, 25.1)}, "15.1 s !"},
		"not back":                            {since10, []lapse{openLapse(10, 20)}, ">10.0 s !"},
		"back and away again for a while":     {since10, []lapse{lapseOf(10, 20), lapseOf(40, 41)}, "10.0 s"},
		"back and away again for too long":    {since10, []lapse{lapseOf(10, 20), lapseOf(40, 41.1)}, "10.0 s !"},
		"back and away again for longer":      {since10, []lapse{lapseOf(10, 20), lapseOf(40, 44)}, "4.0 s !"},
		"away again while it may be":          {since10, []lapse{lapseOf(12, 24)}, "12.0 s"},
		"away for ever":                       {since10, everyFour(2.9, 26, 60), "2.9 s !"},
		"away for short times for ever":       {since10, everyFour(0.4, 26, 60), "0.4 s !"},
		"away often while it may be":          {since10, everyFour(2.9, 10, 25), "2.9 s"},
		"away for a while as it must be back": {since10, []lapse{lapseOf(23.2, 26)}, "2.8 s"},
		"away at the end":                     {since10, []lapse{lapseOf(10, 20), openLapse(57.1, 60)}, "10.0 s !"},
		"searches that take a while":          {found10, everyFour(0.9, 26, 60), "0.9 s"},
		"a search in vain":                    {found10, []lapse{lapseOf(40, 41.1)}, "1.1 s"},
		"two searches in vain":                {found10, []lapse{lapseOf(40, 41.1), lapseOf(50, 51.1)}, "1.1 s !"},
		"searches in vain for ever":           {found10, everyFour(2.9, 26, 60), "2.9 s !"},
		"away for very short times for ever":  {since10, everyFour(0.2, 26, 60), "0.2 s !"},
		"two away, each for a while":          {since10, []lapse{lapseOf(40, 41), {gap{from: second(50), to: second(51)}, "y"}}, "1.0 s"},
		"without a mesh at any time":          {meshBack, []lapse{lapseOf(50, 65)}, "15.0 s"},
		"without a mesh at any time, longer":  {meshBack, []lapse{lapseOf(50, 65.1)}, "15.1 s !"},
		"without a bar":                       {unjudged, []lapse{openLapse(1, 1000)}, ">999.0 s"},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.judge(test.lapses)
			require.Equal(t, test.want, c.String())
			require.Equal(t, strings.HasSuffix(test.want, "!"), c.missed)
		})
	}
	require.Equal(t, "-", cell{}.String())
}

func TestPairs(t *testing.T) {
	a, b, c := &node{name: "a"}, &node{name: "b"}, &node{name: "c"}
	require.ElementsMatch(t,
		[]pair{{"a", "b"}, {"b", "a"}, {"a", "c"}, {"c", "a"}, {"b", "c"}, {"c", "b"}},
		pairsOf([]*node{a, b}, []*node{a, b, c}))
	require.Empty(t, pairsOf([]*node{a}, []*node{a}))
}

// TestMeasure lets a peer behind a NAT vanish from the points for ten seconds.
func TestMeasure(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	all := make(map[string][]found)
	for _, n := range l.nodes {
		for _, ns := range namespaces {
			all[n.id] = append(all[n.id], found{Time: second(1), Namespace: ns, Addrs: append(listenAddrs(n.transport, n.addr.String(), n.port), n.announce()...)})
		}
	}
	mustAdd(t, h, "obs", answer(1, "p1", all))
	h.meet()
	for _, n := range l.nodes {
		mustAdd(t, h, n.name,
			line{Time: second(1), Kind: kindMesh, Peers: make([]string, enoughMesh)},
			line{Time: second(1), Began: second(1), Kind: kindSearch, Found: all})
		for _, other := range l.nodes {
			mustAdd(t, h, n.name, line{Time: second(1), Kind: kindWatch, Peer: other.id, Found: all})
		}
	}
	without := make(map[string][]found)
	for id, f := range all {
		if id != "a2" { // which speaks QUIC
			without[id] = f
		}
	}
	mustAdd(t, h, "obs", answer(20, "p1", without), answer(30, "p1", all))
	searched := func(s float64) {
		for _, n := range l.nodes {
			mustAdd(t, h, n.name, line{Time: second(s), Began: second(s), Kind: kindSearch, Found: all})
		}
	}
	searched(16) // before the repair

	rows := func(g group) map[string]row {
		byTransport := make(map[string]row)
		for _, r := range measure("f", l.nodes, []group{g}, h, period{struck: second(15), back: second(18), end: second(60)}) {
			byTransport[r.transport] = r
		}
		return byTransport
	}
	got := rows(group{nodes: l.behind(l.nats[0]), steadyPoints: true, steadySearches: true})
	for speaks, r := range got {
		require.True(t, r.search.missed, speaks)
		require.Equal(t, "not every searcher made a search", r.search.why)
	}
	searched(20)
	got = rows(group{nodes: l.behind(l.nats[0]), steadyPoints: true, steadySearches: true})
	require.Len(t, got, 5)
	require.Equal(t, "10.0 s !", got["quic"].points.String())
	require.True(t, got["quic"].missed())
	require.Equal(t, "a2 in "+topicNamespace, got["quic"].points.worst.what)
	require.Equal(t, steadyBar, got["quic"].points.bar)
	for _, others := range []string{"tcp", "both", "across", "all"} {
		require.False(t, got[others].missed(), others)
	}
	require.Equal(t, "f: the others", got["all"].fault)

	got = rows(group{nodes: l.behind(l.nats[0])})
	require.Equal(t, "10.0 s", got["quic"].points.String(), "it is back in time")
	got = rows(group{title: "own", nodes: l.behind(l.nats[1]), steadyPoints: true})
	require.Equal(t, "10.0 s !", got["all"].points.String(), "the others must not notice")
	require.Equal(t, "f, own", got["tcp"].fault)
	require.Equal(t, backBar, got["tcp"].search.bar)
	require.Equal(t, steadyBar, got["tcp"].points.bar)

	// The time that searches take does not count. That in which a peer comes and goes does.
	slow := func(by string, began, took float64) {
		later := make(map[string][]found)
		for id, f := range all {
			later[id] = []found{{Time: second(began + took), Addrs: f[0].Addrs}}
		}
		mustAdd(t, h, by, line{Time: second(began + took), Began: second(began), Kind: kindSearch, Found: later})
	}
	for i := range 10 {
		for _, n := range l.nodes {
			slow(n.name, 40+float64(i), 0.9)
		}
	}
	got = rows(group{nodes: l.behind(l.nats[0])})
	require.False(t, got["quic"].missed())
	require.Equal(t, "0.9 s", got["quic"].search.String())
	for i := range 8 {
		s := 40 + 2*float64(i)
		mustAdd(t, h, "obs", answer(s, "p1", without), answer(s+0.2, "p1", all))
		mustAdd(t, h, "b2", line{Time: second(s), Kind: kindWatch, Peer: "a2"}, line{Time: second(s + 0.2), Kind: kindWatch, Peer: "a2", Found: all})
	}
	got = rows(group{nodes: l.behind(l.nats[0])})
	require.True(t, got["quic"].points.missed)
	require.Equal(t, "a2 in "+topicNamespace, got["quic"].points.late.what)
	require.InDelta(t, 1.6, got["quic"].points.late.length.Seconds(), 0.001)
	require.True(t, got["quic"].watch.missed)
	require.Equal(t, "a2 by b2", got["quic"].watch.late.what)
	require.False(t, got["tcp"].missed())
	for _, s := range []float64{50, 54} {
		slow("b2", s, 1.8)
	}
	got = rows(group{nodes: l.behind(l.nats[0])})
	require.True(t, got["quic"].search.missed)
	require.InDelta(t, 3.6, got["quic"].search.late.length.Seconds(), 0.001)
	require.False(t, got["tcp"].search.missed)
}

// TestMeasureWhoIsKept has peers that nothing should happen to.
func TestMeasureWhoIsKept(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	all := make(map[string][]found)
	for _, n := range l.nodes {
		for _, ns := range namespaces {
			all[n.id] = append(all[n.id], found{Time: second(1), Namespace: ns, Addrs: append(listenAddrs(n.transport, n.addr.String(), n.port), n.announce()...)})
		}
	}
	without := make(map[string][]found)
	for id, f := range all {
		if id != "b2" { // which speaks QUIC
			without[id] = f
		}
	}
	mustAdd(t, h, "obs", answer(1, "p1", all))
	h.meet()
	searched := func(s float64, found map[string][]found) {
		for _, n := range l.nodes {
			mustAdd(t, h, n.name, line{Time: second(s), Began: second(s), Kind: kindSearch, Found: found})
		}
	}
	searched(1, all)
	for _, n := range l.nodes {
		for _, other := range l.nodes {
			mustAdd(t, h, n.name, line{Time: second(1), Kind: kindWatch, Peer: other.id, Found: all})
		}
	}
	quic := func(kept ...transport) row {
		g := group{nodes: l.nodes, steadyPoints: true, steadySearches: true, kept: kept}
		rows := measure("f", l.nodes, []group{g}, h, period{struck: second(10), back: second(10), end: second(60)})
		require.Equal(t, []string{"tcp", "quic", "both", "across"}, []string{rows[0].transport, rows[1].transport, rows[2].transport, rows[3].transport})
		for _, i := range []int{0, 2} {
			require.False(t, rows[i].search.missed, rows[i].transport)
		}
		require.Equal(t, rows[1].search.missed && len(kept) == len(transports), rows[3].search.missed)
		return rows[1]
	}

	mustAdd(t, h, "obs", answer(20, "p1", without), answer(20.3, "p1", all)) // one look
	searched(20, without)
	searched(21, all)
	r := quic(overQUIC)
	require.False(t, r.points.missed)
	require.False(t, r.search.missed)
	require.Equal(t, keptBar, r.points.bar)
	require.Equal(t, keptBar, r.watch.bar)
	require.Equal(t, steadyBar, r.search.bar)

	mustAdd(t, h, "obs", answer(30, "p1", without), answer(30.3, "p1", without), answer(30.6, "p1", all))
	searched(30, without)
	searched(31, without)
	searched(32, all)
	mustAdd(t, h, "a2", line{Time: second(30), Kind: kindWatch, Peer: "b2"}, line{Time: second(31), Kind: kindWatch, Peer: "b2", Found: all})
	for _, kept := range [][]transport{{overQUIC}, transports} {
		r = quic(kept...)
		require.True(t, r.points.missed)
		require.True(t, r.watch.missed)
		require.True(t, r.search.missed)
		require.Regexp(t, "^b2 by ..: 2 searches in a row in vain$", r.search.why)
	}
	r = quic(overTCP)
	require.False(t, r.points.missed)
	require.False(t, r.watch.missed)
	require.False(t, r.search.missed)
}

func TestMeasureWhoMoved(t *testing.T) {
	h, l := newTestHistory(layoutOptions{open: true})
	groups := []group{
		{title: "lan", nodes: l.behind(l.nats[0]), steadyPoints: true, steadySearches: true, moved: true},
		{title: "open", nodes: l.behind(nil), steadyPoints: true, steadySearches: true, moved: true},
	}
	rows := measure("f", l.nodes, groups, h, period{struck: second(1), back: second(1), end: second(60)})
	row := func(title string) row {
		i := slices.IndexFunc(rows, func(r row) bool { return r.fault == title && r.transport == "tcp" })
		require.GreaterOrEqual(t, i, 0, title)
		return rows[i]
	}
	require.Equal(t, "-", row("f, lan: at the new one").search.String())
	require.Equal(t, ">59.0 s !", row("f, open: at the new one").search.String())
	require.Equal(t, backBar, row("f, open: at the new one").watch.bar)
	require.Equal(t, steadyBar, row("f, open").watch.bar)
}

func TestTable(t *testing.T) {
	p := period{struck: second(10), back: second(10), end: second(60)}
	rows := []row{
		{fault: "storm", transport: "tcp", points: steady([]lapse{lapseOf(12, 16)}), search: steady(nil), watch: steady(nil), mesh: meshBack(nil), messages: unjudged(nil)},
		{fault: "storm", transport: "across", search: recovered([]lapse{lapseOf(10, 21)}, p.back), watch: recovered(nil, p.back), messages: unjudged([]lapse{openLapse(20, 60)})},
	}
	var out strings.Builder
	require.NoError(t, writeTable(&out, rows))
	var got [][]string
	for text := range strings.Lines(out.String()) {
		got = append(got, strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }))
	}
	require.Len(t, got, 3)
	require.Regexp(t, `^storm +tcp +4\.0 s ! +0 +0 +3 s +0 +15 s +- +0 +MISSED$`, got[1][0])
	require.Regexp(t, `^storm +across +- +11\.0 s +0 +15 s +- +- +>40\.0 s +ok$`, got[2][0])

	out.Reset()
	for _, r := range rows {
		writeWorst(&out, r, p, false)
	}
	require.Equal(t, "  storm, tcp: x: not registered where peers meet, from +2.0 s until +6.0 s\n", out.String())
	out.Reset()
	writeWorst(&out, row{fault: "storm", transport: "tcp", points: recovered(everyFour(0.5, 26, 60), p.back)}, p, false)
	require.Equal(t, `  storm, tcp: x: not registered where peers meet: 4.5 s in all, after the 15 s in which it must be back
  storm, tcp: x: not registered where peers meet, from +16.0 s until +16.5 s
`, out.String())
	out.Reset()
	writeWorst(&out, rows[1], p, true)
	require.Equal(t, `  storm, across: x: not found by FindPeers, from +0.0 s until +11.0 s
  storm, across: x: without messages, from +10.0 s until the end of the measurement
`, out.String())
}

func TestBarsAreNamedOnce(t *testing.T) {
	require.Empty(t, bars(cell{}))
	require.Equal(t, "3 s", bars(steady(nil), cell{}, steady(nil)))
	require.Equal(t, "3 s, 15 s", bars(steady(nil), recovered(nil, 0), recovered(nil, 0)))
	require.Equal(t, "0.5 s, 3 s", bars(kept(nil), steady(nil), kept(nil)))
	require.Equal(t, 15*time.Second, meshBack(nil).bar)
}
