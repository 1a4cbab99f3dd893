//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// enoughMesh is how many peers a mesh needs. It is gossipsub's own measure (Dlo): with
// fewer it searches for more.
const enoughMesh = 5

var namespaces = []string{topicNamespace, keptNamespace}

// sighting says when a peer was seen somewhere, and when it was with an address that it
// has now.
type sighting struct {
	seen, current timeline
}

func (s *sighting) set(at instant, seen, current bool) {
	s.seen.set(at, seen)
	s.current.set(at, current)
}

// pair is a node and another that it looks for.
type pair struct{ by, of string } // names

// held is a registration that a point may have.
type held struct{ point, namespace, node string } // names

// history is all that the programs of a network have said, by time.
type history struct {
	nodes  map[string]*node // by peer ID
	points []string         // names of those that the observer asks

	mu        sync.Mutex
	meeting   map[string][]string   // by namespace: the points at which its peers meet
	addrs     map[string]netip.Addr // by node: where it is now
	ready     map[string]bool       // by program: it has started, and a point has answered
	held      map[held]*sighting
	searched  map[pair]*sighting
	watched   map[pair]*sighting
	mesh      map[string]*timeline // by node
	messages  map[pair]*arrivals
	states    map[string]string // by node: what KeepRegistered said last
	asked     map[string]instant
	unknown   map[string]bool // peer IDs of nobody
	lateness  time.Duration   // the longest time by which the observer asked too late
	strangers struct{ searches, honest int }
}

func newHistory(l *layout) *history {
	r := &history{
		nodes:    make(map[string]*node),
		meeting:  make(map[string][]string),
		addrs:    make(map[string]netip.Addr),
		ready:    make(map[string]bool),
		held:     make(map[held]*sighting),
		searched: make(map[pair]*sighting),
		watched:  make(map[pair]*sighting),
		mesh:     make(map[string]*timeline),
		messages: make(map[pair]*arrivals),
		states:   make(map[string]string),
		asked:    make(map[string]instant),
		unknown:  make(map[string]bool),
	}
	for _, p := range l.points {
		if !p.hostile {
			r.points = append(r.points, p.name)
		}
	}
	for _, n := range l.nodes {
		r.nodes[n.id] = n
		r.addrs[n.name] = n.addr
		r.mesh[n.name] = new(timeline)
		for _, p := range r.points {
			for _, ns := range namespaces {
				r.held[held{p, ns, n.name}] = new(sighting)
			}
		}
		for _, other := range l.nodes {
			if other != n {
				p := pair{n.name, other.name}
				r.searched[p], r.watched[p] = new(sighting), new(sighting)
				r.messages[p] = &arrivals{every: messageEvery}
			}
		}
	}
	return r
}

// moved says that a node has another address from an instant on.
func (r *history) moved(n *node, at instant, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs[n.name] = addr
	for h, s := range r.held {
		if h.node == n.name {
			s.current.set(at, false)
		}
	}
	if n.nat != nil {
		return // its NAT is reached where it was
	}
	for _, sightings := range []map[pair]*sighting{r.searched, r.watched} {
		for p, s := range sightings {
			if p.of == n.name {
				s.current.set(at, false)
			}
		}
	}
}

// add adds what a program has said.
func (r *history) add(program string, l line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch l.Kind {
	case kindReady:
		r.ready[program] = true
	case kindMesh:
		r.mesh[program].set(l.Time, len(l.Peers) >= enoughMesh)
	case kindState:
		r.states[program] = l.Text
	case kindMessage:
		if n := r.nodes[l.Peer]; n != nil {
			r.messages[pair{program, n.name}].add(l.Time)
		}
	case kindWatch:
		r.addWatch(program, l)
	case kindSearch:
		r.addSearch(program, l)
	case kindAnswer, kindNoAnswer:
		r.addAnswer(l)
	default:
		return fmt.Errorf("%s printed a line of kind %q", program, l.Kind)
	}
	return nil
}

func (r *history) addWatch(by string, l line) {
	n := r.nodes[l.Peer]
	if n == nil || n.name == by {
		return
	}
	there := l.Found[l.Peer]
	r.watched[pair{by, n.name}].set(l.Time, len(there) > 0, r.reachable(n, there))
}

// addSearch adds what one search gave. From its beginning until it gives a peer, that peer
// is not found. It need not find those that its host is connected to.
func (r *history) addSearch(by string, l line) {
	strangers, honest := 0, 0
	for id, n := range r.nodes {
		if n.name == by {
			continue
		}
		s := r.searched[pair{by, n.name}]
		if slices.Contains(l.Connected, id) {
			s.set(l.Began, true, true)
			continue
		}
		strangers++
		s.set(l.Began, false, false)
		if there := l.Found[id]; len(there) > 0 {
			honest++
			s.set(there[0].Time, true, r.reachable(n, there))
		}
	}
	if strangers > 0 {
		r.strangers.searches++
		if honest > 0 {
			r.strangers.honest++
		}
	}
}

func (r *history) addAnswer(l line) {
	if last := r.asked[l.Point]; last != 0 && l.Kind == kindAnswer {
		r.lateness = max(r.lateness, l.Began.sub(last)-askEvery)
	}
	r.asked[l.Point] = l.Began
	if l.Kind == kindAnswer {
		r.ready[l.Point] = true
	}
	for h, s := range r.held {
		if h.point != l.Point {
			continue
		}
		if l.Kind == kindNoAnswer {
			s.set(l.Began, false, false)
			continue
		}
		there := r.registered(h, l)
		s.set(l.Time, len(there) > 0, slices.ContainsFunc(there, func(f found) bool { return contains(f.Addrs, r.addrs[h.node]) }))
	}
}

// registered returns what an answer says of a node in a namespace.
func (r *history) registered(h held, l line) []found {
	for id, n := range r.nodes {
		if n.name == h.node {
			return slices.DeleteFunc(slices.Clone(l.Found[id]), func(f found) bool { return f.Namespace != h.namespace })
		}
	}
	return nil
}

// reachable reports whether a node can be reached at one of the addresses found.
func (r *history) reachable(n *node, there []found) bool {
	at := r.addrs[n.name]
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

// allReady reports whether all of some programs have started.
func (r *history) allReady(programs ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(programs, func(p string) bool { return !r.ready[p] })
}

// meet takes those points for the ones at which the peers of a namespace meet that hold
// registrations of it now. Peers look for each other there: one that is registered at
// another point is not found as long as these answer.
func (r *history) meet() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range namespaces {
		r.meeting[ns] = nil
		for _, p := range r.points {
			for _, n := range r.nodes {
				if r.held[held{p, ns, n.name}].seen.last() {
					r.meeting[ns] = append(r.meeting[ns], p)
					break
				}
			}
		}
	}
}

// busiest returns a point at which the peers of all namespaces meet, "" if there is none.
func (r *history) busiest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.points {
		if !slices.ContainsFunc(namespaces, func(ns string) bool { return !slices.Contains(r.meeting[ns], p) }) {
			return p
		}
	}
	return ""
}

// missing says what is not as it should be now, at most a few things; nothing when all
// is well.
func (r *history) missing() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var wrong []string
	for _, n := range r.nodes {
		for _, ns := range namespaces {
			if !slices.ContainsFunc(r.points, func(p string) bool { return r.held[held{p, ns, n.name}].current.last() }) {
				wrong = append(wrong, fmt.Sprintf("%s is at no point in %s (%s)", n.name, ns, r.states[n.name]))
			}
		}
		if !r.mesh[n.name].last() {
			wrong = append(wrong, n.name+" has no mesh")
		}
	}
	for p, s := range r.searched {
		if !s.current.last() {
			wrong = append(wrong, fmt.Sprintf("FindPeers of %s does not give %s", p.by, p.of))
		}
	}
	for p, s := range r.watched {
		if !s.current.last() {
			wrong = append(wrong, fmt.Sprintf("Watch of %s does not have %s", p.by, p.of))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// lapses is a time in which something was not as it should be, and what that was.
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

// atPoints returns when nodes were registered at none of the points at which they meet
// others, or, with current, at none with the address that they have.
func (r *history) atPoints(nodes []*node, current bool, from, to instant) []lapse {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []lapse
	for _, n := range nodes {
		for _, ns := range namespaces {
			var lines []*timeline
			for _, p := range r.meeting[ns] {
				s := r.held[held{p, ns, n.name}]
				if current {
					lines = append(lines, &s.current)
				} else {
					lines = append(lines, &s.seen)
				}
			}
			all = append(all, lapses(n.name+" in "+ns, anyOf(lines...).gaps(from, to))...)
		}
	}
	return all
}

// inSearches returns when FindPeers did not find what it should have.
func (r *history) inSearches(pairs []pair, current bool, from, to instant) []lapse {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ofPairs(r.searched, pairs, current, from, to)
}

// inWatch returns when Watch did not know whom it should have.
func (r *history) inWatch(pairs []pair, current bool, from, to instant) []lapse {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ofPairs(r.watched, pairs, current, from, to)
}

func ofPairs(sightings map[pair]*sighting, pairs []pair, current bool, from, to instant) []lapse {
	var all []lapse
	for _, p := range pairs {
		s := &sightings[p].seen
		if current {
			s = &sightings[p].current
		}
		all = append(all, lapses(p.of+" by "+p.by, s.gaps(from, to))...)
	}
	return all
}

// inMesh returns when nodes had too few peers in their mesh.
func (r *history) inMesh(nodes []*node, from, to instant) []lapse {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []lapse
	for _, n := range nodes {
		all = append(all, lapses(n.name, r.mesh[n.name].gaps(from, to))...)
	}
	return all
}

// ofMessages returns when messages of a peer did not reach another.
func (r *history) ofMessages(pairs []pair, from, to instant) []lapse {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []lapse
	for _, p := range pairs {
		all = append(all, lapses(p.of+" to "+p.by, r.messages[p].gaps(from, to))...)
	}
	return all
}

// share returns in how many searches there was a peer to find that the host was not
// connected to, and how many of these found one.
func (r *history) share() (searches, honest int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.strangers.searches, r.strangers.honest
}

// latest returns by how much the observer asked too late, at worst.
func (r *history) latest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lateness
}
