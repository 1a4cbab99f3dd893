//go:build linux

package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// second is an instant on the clock of a test.
func second(s float64) instant { return instant(s * float64(time.Second)) }

// newTestHistory returns a history whose nodes have their names as peer IDs.
func newTestHistory(o layoutOptions) (*history, *layout) {
	l := newLayout(o)
	for _, n := range l.nodes {
		n.id = n.name
	}
	return newHistory(l), l
}

func mustAdd(t *testing.T, h *history, program string, lines ...line) {
	t.Helper()
	for _, l := range lines {
		require.NoError(t, h.add(program, l))
	}
}

// lan and external are registrations of the first node, behind the first NAT.
func lan(ns string) found { return found{Namespace: ns, Addrs: []string{"/ip4/10.1.1.11/tcp/4101"}} }

func answer(s float64, point string, registrations map[string][]found) line {
	return line{Time: second(s), Began: second(s), Kind: kindAnswer, Point: point, Found: registrations}
}

func TestRegistrationsOfSeveralPoints(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	both := map[string][]found{"a1": {lan(topicNamespace), lan(keptNamespace)}}
	mustAdd(t, h, "obs",
		answer(1, "p1", both), answer(1, "p2", both), answer(1, "p3", nil),
	)
	h.meet()
	require.Equal(t, []string{"p1", "p2"}, h.registrations.meeting[keptNamespace])
	require.Equal(t, "p1", h.busiest())

	mustAdd(t, h, "obs",
		answer(2, "p1", nil), answer(2, "p2", both), // at one point is enough
		answer(3, "p1", both),
		line{Time: second(6), Began: second(4), Kind: kindNoAnswer, Point: "p1"}, // counts from its beginning
		line{Time: second(5), Began: second(4.5), Kind: kindNoAnswer, Point: "p2"},
		answer(5.5, "p3", both), // where nobody looks
		answer(7, "p2", map[string][]found{"a1": {lan(topicNamespace)}}),
		answer(9, "p2", both),
	)
	got := h.registrations.lapses(l.nodes[:1], false, second(1), second(10))
	require.Equal(t, []lapse{
		{gap{from: second(4.5), to: second(7)}, "a1 in " + topicNamespace},
		{gap{from: second(4.5), to: second(9)}, "a1 in " + keptNamespace},
	}, got)
}

func TestRegistrationsAtTheNewAddress(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	old := map[string][]found{"a1": {lan(topicNamespace), lan(keptNamespace)}}
	mustAdd(t, h, "obs", answer(1, "p1", old))
	h.meet()
	require.Empty(t, h.registrations.lapses(l.nodes[:1], true, second(1), second(2)))

	h.moved(l.nodes[0], second(2), netip.MustParseAddr("10.1.1.51"))
	moved := found{Addrs: []string{"/ip4/10.1.1.51/tcp/4101", "/ip4/10.1.1.11/tcp/4101"}}
	moved.Namespace = topicNamespace
	mustAdd(t, h, "obs", answer(3, "p1", old), answer(4, "p1", map[string][]found{"a1": {moved, lan(keptNamespace)}}))
	require.Empty(t, h.registrations.lapses(l.nodes[:1], false, second(1), second(5)), "it is registered all the time")
	require.Equal(t, []lapse{
		{gap{from: second(2), to: second(4)}, "a1 in " + topicNamespace},
		{gap{from: second(2), to: second(5), open: true}, "a1 in " + keptNamespace},
	}, h.registrations.lapses(l.nodes[:1], true, second(1), second(5)))
}

func TestObserverThatIsLate(t *testing.T) {
	h, _ := newTestHistory(layoutOptions{})
	mustAdd(t, h, "obs", answer(1, "p1", nil), answer(1.25, "p1", nil), answer(1.75, "p1", nil), answer(3, "p2", nil))
	require.Equal(t, 250*time.Millisecond, h.registrations.lateness)
	mustAdd(t, h, "obs", line{Time: second(3), Began: second(2), Kind: kindNoAnswer, Point: "p1"}, answer(3, "p1", nil))
	require.Equal(t, 250*time.Millisecond, h.registrations.lateness, "it waited for an answer")
	h.begin()
	mustAdd(t, h, "obs", answer(3.3, "p1", nil))
	require.Equal(t, 50*time.Millisecond, h.registrations.lateness)
}

// external is a node behind the first NAT as others reach it.
func external(s float64) []found {
	return []found{{Time: second(s), Addrs: []string{"/ip4/10.1.1.12/tcp/4102", "/ip4/192.0.0.144/tcp/4102"}}}
}

func TestSearches(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	require.Equal(t, "192.0.0.144", l.nats[0].external.String())
	search := func(began, ended float64, there map[string][]found) line {
		return line{Time: second(ended), Began: second(began), Kind: kindSearch, Found: there, Peers: []string{"a point"}}
	}
	mustAdd(t, h, "a1",
		search(1, 1.5, map[string][]found{"a2": external(1.1), "a3": external(1.1), "nobody": external(1.1)}),
		search(2, 2.1, map[string][]found{"a2": external(2), "a3": external(2)}),
		search(3, 8, map[string][]found{"a3": external(3)}),
		search(8, 9, nil),
		search(9, 9.5, map[string][]found{"a2": external(9.2)}),
	)
	of := func(of string, current bool) []gap {
		var gaps []gap
		for _, l := range h.searched.lapses([]pair{{"a1", of}}, current, second(2), second(10)) {
			gaps = append(gaps, l.gap)
		}
		return gaps
	}
	require.Equal(t, []gap{{from: second(3), to: second(9.2)}}, of("a2", false))
	require.Equal(t, []gap{{from: second(8), to: second(10), open: true}}, of("a3", false))
	a2, a3 := pair{"a1", "a2"}, pair{"a1", "a3"}
	all := h.searched.searches
	require.Equal(t, 5, all.fewest([]pair{a2, a3}, second(1), second(10)))
	require.Equal(t, 3, all.fewest([]pair{a2}, second(1.5), second(9)), "those that begin before or end after are not counted")
	require.Zero(t, all.fewest([]pair{a2, {"a2", "a1"}}, second(1), second(10)), "a2 did not search")
	require.Zero(t, all.fewest(nil, second(1), second(10)))
	most, what := all.inVain([]pair{a2, a3}, second(1), second(10))
	require.Equal(t, 2, most)
	require.Equal(t, "a2 by a1", what)
	most, _ = all.inVain([]pair{a3}, second(1), second(9))
	require.Equal(t, 1, most)

	connected := search(10, 10.5, nil)
	connected.Peers = []string{"a2"}
	require.ErrorContains(t, h.add("a1", connected), "the searcher of a1 is connected to a2")
}

// TestSharesOfAHostilePoint has searches in a world of two points and three peers.
func TestSharesOfAHostilePoint(t *testing.T) {
	search := func(at float64, asked map[string]bool, there ...string) search {
		s := search{by: "a", began: second(at), ended: second(at + 1), asked: asked, found: make(map[string]bool)}
		for _, name := range there {
			s.found[name] = true
		}
		return s
	}
	one, both := map[string]bool{"h1": true, "p1": false}, map[string]bool{"h1": true, "p1": true}
	all := searches{search(1, both)} // before the measurement
	for i := range 20 {
		all = append(all, search(float64(10+i), both, "b", "c"))
	}
	all = append(all, search(40, nil, "b"), search(41, nil), search(42, one))
	got := all.shares(2, 3, second(10), second(50))
	require.Equal(t, shares{searches: 23, fruitful: 21, asked: 21, both: 20, complete: 20}, got)
	require.False(t, got.missed())

	require.True(t, append(all, search(43, one)).shares(2, 3, second(10), second(50)).missed(), "too many without both answers")
	hidden := append(all, search(43, both, "b")).shares(2, 3, second(10), second(50))
	require.True(t, hidden.missed(), "a search of both points that lacks a peer")
	require.True(t, all.shares(2, 3, second(40), second(50)).missed(), "no search of both points")
	require.Equal(t, "22 of 24 searches found a peer that exists; 22 asked the points, 21 of these had the answers of all points, and 20 of these found all peers !", hidden.String())
}

func TestWatchOfAPeerThatMoves(t *testing.T) {
	h, l := newTestHistory(layoutOptions{open: true})
	d1 := l.behind(nil)[0]
	event := func(s float64, addrs ...string) line {
		l := line{Time: second(s), Kind: kindWatch, Peer: d1.id}
		if len(addrs) > 0 {
			l.Found = map[string][]found{d1.id: {{Addrs: addrs}}}
		}
		return l
	}
	old, next := "/ip4/"+d1.addr.String()+"/tcp/4111", "/ip4/"+d1.nextAddr.String()+"/tcp/4111"
	mustAdd(t, h, "a1", event(1, old))
	h.moved(d1, second(2), d1.nextAddr)
	mustAdd(t, h, "a1", event(3), event(4, old), event(6, next))
	pairs := []pair{{"a1", "d1"}}
	require.Equal(t, []lapse{{gap{from: second(3), to: second(4)}, "d1 by a1"}}, h.watched.lapses(pairs, false, second(1), second(8)))
	require.Equal(t, []lapse{{gap{from: second(2), to: second(6)}, "d1 by a1"}}, h.watched.lapses(pairs, true, second(1), second(8)))
}

func TestMeshes(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	mesh := func(s float64, n int) line { return line{Time: second(s), Kind: kindMesh, Peers: make([]string, n)} }
	mustAdd(t, h, "a1", mesh(1, 2), mesh(2, 3), mesh(8, 6), mesh(10, 2), mesh(11, 1), mesh(30, 3))
	whole := []lapse{{gap{from: second(10), to: second(30)}, "a1"}}
	judged := func() []lapse { return h.meshes.lapses(l.nodes[:1], second(5), second(40)) }
	require.Equal(t, whole, judged())

	// a1 speaks TCP, and connects with a3, a4, b1, b3, c1 and c3. The two ends notice the end
	// of a connection at different times. Those that are made after the beginning do not
	// count.
	closed := func(s, opened float64, p string) line {
		return line{Time: second(s), Began: second(opened), Kind: kindClosed, Peer: p}
	}
	mustAdd(t, h, "b1", closed(28, 1, "a1"), closed(29, 6, "a1"), closed(29, 1, "a2"))
	mustAdd(t, h, "a1", closed(27, 1, "b3"), closed(29, 1, "a3"))
	require.Equal(t, whole, judged(), "a4, c1 and c3 are left")
	mustAdd(t, h, "a4", closed(12, 1, "a1"), closed(20, 1, "a1"))
	mustAdd(t, h, "a1", closed(15, 1, "a4"))
	require.Equal(t, []lapse{{gap{from: second(20), to: second(30)}, "a1"}}, judged(), "c1, c3, and later a4")
	mustAdd(t, h, "a1", closed(35, 1, "c1"))
	require.Equal(t, []lapse{{gap{from: second(27), to: second(30)}, "a1"}}, judged(), "c3, a4 and later b3")
	mustAdd(t, h, "a1", closed(35, 1, "c3"), closed(35, 1, "b3"), closed(35, 1, "a3"))
	require.Empty(t, judged())
	require.Equal(t, whole, h.meshes.gaps(l.nodes[:1], second(5), second(40)))
}

func TestMessages(t *testing.T) {
	h, _ := newTestHistory(layoutOptions{})
	for _, s := range []float64{1, 3, 5, 12, 14} {
		mustAdd(t, h, "a1", line{Time: second(s), Kind: kindMessage, Peer: "b1"})
	}
	require.Equal(t, []lapse{{gap{from: second(7), to: second(12)}, "b1 to a1"}}, h.meshes.silences([]pair{{"a1", "b1"}}, second(2), second(15)))
}

func TestWhatIsMissing(t *testing.T) {
	h, l := newTestHistory(layoutOptions{})
	require.False(t, h.allReady("a1", "p1"))
	mustAdd(t, h, "a1", line{Time: 1, Kind: kindReady})
	mustAdd(t, h, "a1", line{Time: 1, Kind: kindState, Text: "not findable; no route"})
	require.Contains(t, h.missing(), "a1 is at no point in kept (it says: not findable; no route)")

	all := make(map[string][]found)
	for _, n := range l.nodes {
		addrs := append(listenAddrs(n.transport, n.addr.String(), n.port), n.announce()...)
		for _, ns := range namespaces {
			all[n.id] = append(all[n.id], found{Time: second(1), Namespace: ns, Addrs: addrs})
		}
	}
	mustAdd(t, h, "obs", answer(1, "p1", all))
	require.True(t, h.allReady("a1", "p1"))
	for _, n := range l.nodes {
		require.NotEmpty(t, h.missing())
		mustAdd(t, h, n.name,
			line{Time: second(1), Kind: kindMesh, Peers: make([]string, enoughMesh)},
			line{Time: second(1), Began: second(1), Kind: kindSearch, Found: all})
		for _, other := range l.nodes {
			mustAdd(t, h, n.name, line{Time: second(1), Kind: kindWatch, Peer: other.id, Found: all})
		}
	}
	require.Empty(t, h.missing())
}

func TestLinesOfNobody(t *testing.T) {
	h, _ := newTestHistory(layoutOptions{})
	mustAdd(t, h, "a1", line{Time: 1, Kind: kindWatch, Peer: "made up"}, line{Time: 1, Kind: kindClosed, Peer: "a point"})
	require.ErrorContains(t, h.add("a1", line{Time: 1, Kind: "song"}), `a1 printed a line of kind "song"`)
}
