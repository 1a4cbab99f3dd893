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
	search := func(began, ended float64, there map[string][]found, connected ...string) line {
		return line{Time: second(ended), Began: second(began), Kind: kindSearch, Found: there, Connected: connected}
	}
	mustAdd(t, h, "a1",
		search(1, 1.5, map[string][]found{"a2": external(1.1), "nobody": external(1.1)}),
		search(2, 2.1, nil, "a2", "a3"), // need not be found
		search(3, 8, nil, "a3"),
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
	require.Equal(t, 5, h.searched.searches)
	require.Equal(t, 2, h.searched.fruitful)
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
	require.Equal(t, []lapse{{gap{from: second(10), to: second(30)}, "a1"}}, h.meshes.lapses(l.nodes[:1], second(5), second(40)))

	// The others notice the ends of connections later. Those that are made after the
	// beginning do not count.
	closed := func(s, opened float64, p string) line {
		return line{Time: second(s), Began: second(opened), Kind: kindClosed, Peer: p}
	}
	mustAdd(t, h, "b1", closed(20, 1, "a1"), closed(25, 6, "a1"), closed(28, 1, "a2"))
	require.Equal(t, []lapse{{gap{from: second(20), to: second(30)}, "a1"}}, h.meshes.lapses(l.nodes[:1], second(5), second(40)))
	mustAdd(t, h, "a1", closed(29, 1, "b2"), closed(31, 1, "b3"))
	require.Equal(t, []lapse{{gap{from: second(29), to: second(30)}, "a1"}}, h.meshes.lapses(l.nodes[:1], second(5), second(40)))
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
