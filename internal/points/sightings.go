package points

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxShare bounds what is remembered of what one point says, in bytes of memory
	// over all namespaces. It is room for 1000 peers with ten addresses each, or for a few
	// thousand with the addresses that most have. A point that makes peers up fills its own
	// share and no other.
	maxShare = 9 << 18
	// maxMemory bounds the memory for all points together, and maxSpeaking the number of
	// points in one namespace. Lasting registrations outlive the points that returned
	// them, and anybody can be a point for a moment, again and again. The points that
	// answered longest ago are forgotten first.
	maxMemory   = 16 * maxShare
	maxSpeaking = 16
	// sweepInterval is how often namespaces that nobody asks for any more are looked
	// through for sightings that have expired.
	sweepInterval = 10 * time.Second
)

// Sightings remembers which peers the points have said are in which namespaces, until the
// registrations end. What one point says later replaces what it said before, even if the
// sequence number of the record is lower: the clock of a peer may have been set back. If
// points differ about a peer, it is handed out with addresses of each record. All methods
// may be called at the same time.
type Sightings struct {
	now func() time.Time

	mu         sync.Mutex
	named      map[peer.ID]struct{} // the points whose answers are remembered; nil: all
	namespaces map[string]*namespace
	shares     map[peer.ID]*share // of each point of which something is remembered
	memory     int                // of all shares, in bytes
	version    uint64             // the highest of any namespace
	swept      time.Time          // when all namespaces were last looked through
	seed       maphash.Seed
}

func newSightings() *Sightings {
	return &Sightings{now: time.Now, namespaces: make(map[string]*namespace), shares: make(map[peer.ID]*share), seed: maphash.MakeSeed()}
}

// setNamed forgets what all points but these have said. From now on, it records only what
// these say: another one may still be answering.
func (s *Sightings) setNamed(points iter.Seq[peer.ID]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = make(map[peer.ID]struct{})
	for point := range points {
		s.named[point] = struct{}{}
	}
	for ns, n := range s.namespaces {
		for point := range n.reports {
			if s.removed(point) {
				s.forget(n, point)
			}
		}
		s.tidy(ns)
	}
}

// removed reports whether points are named, and this is none of them.
func (s *Sightings) removed(point peer.ID) bool {
	_, named := s.named[point]
	return s.named != nil && !named
}

// Record remembers what a point says about a namespace, a random part of it if not everything
// fits into the point's share. Each element of seen that fits is replaced by what all points say of its peer. Nothing
// happens if the point has been removed.
func (s *Sightings) Record(ns string, point peer.ID, seen []Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed(point) {
		return
	}
	s.sweep()
	s.expire(ns)
	s.makeRoom(point)
	n := s.namespaces[ns]
	if n == nil {
		n = &namespace{name: ns, reports: make(map[peer.ID]map[peer.ID]*report)}
		s.namespaces[ns] = n
	}
	if n.reports[point] == nil && len(n.reports) >= maxSpeaking {
		s.forget(n, s.longestSilent(maps.Keys(n.reports)))
	}
	for i := range seen {
		id := seen[i].Peer.ID
		if !n.renew(point, seen[i], s.now()) {
			s.change(n, id, func() { s.replace(n, point, seen[i]) })
		}
		if n.reports[point][id] == nil { // it did not fit
			continue
		}
		seen[i], _ = n.current(id)
	}
	if share := s.shares[point]; share != nil {
		share.answered = s.now()
	}
	s.tidy(ns)
}

// makeRoom makes room for the whole share of a point.
func (s *Sightings) makeRoom(point peer.ID) {
	own := 0
	if share := s.shares[point]; share != nil {
		own = share.memory
	}
	for s.memory-own > maxMemory-maxShare {
		silent := s.longestSilent(func(yield func(peer.ID) bool) {
			for other := range s.shares {
				if other != point && !yield(other) {
					return
				}
			}
		})
		for ns, n := range s.namespaces {
			s.forget(n, silent)
			s.tidy(ns)
		}
	}
}

// longestSilent returns which of some points, one or more, answered longest ago.
func (s *Sightings) longestSilent(points iter.Seq[peer.ID]) (silent peer.ID) {
	for point := range points {
		if silent == "" || s.shares[point].answered.Before(s.shares[silent].answered) {
			silent = point
		}
	}
	return silent
}

// forget forgets what a point has said of a namespace.
func (s *Sightings) forget(n *namespace, point peer.ID) {
	for id := range n.reports[point] {
		s.change(n, id, func() { s.remove(n, point, id) })
	}
}

// ReportedBy returns the peers that a point has returned in a namespace, each as all points
// together describe it.
func (s *Sightings) ReportedBy(ns string, point peer.ID) []Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(ns)
	n := s.namespaces[ns]
	if n == nil {
		return nil
	}
	said := make([]Sighting, 0, len(n.reports[point]))
	for id := range n.reports[point] {
		current, _ := n.current(id)
		said = append(said, current)
	}
	return said
}

// LeftOut reports whether something that a point has said lately did not fit into its share, in
// any namespace.
func (s *Sightings) LeftOut(point peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := s.shares[point]
	return share != nil && !share.leftOut.IsZero() && s.now().Sub(share.leftOut) < 2*listAgain
}

// Complete records that a point has returned all its registrations in a namespace since a time.
// Those that it returned only before that time have ended there.
func (s *Sightings) Complete(ns string, point peer.ID, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[ns]
	if n == nil {
		return
	}
	for id, w := range n.reports[point] {
		if w.at.Before(since) {
			s.change(n, id, func() { s.remove(n, point, id) })
		}
	}
	s.tidy(ns)
}

// Live returns at most limit peers whose registrations have not ended, or all if limit is 0.
// Each point has an equal part of them if it knows enough.
func (s *Sightings) Live(ns string, limit int) []Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(ns)
	n := s.namespaces[ns]
	if n == nil {
		return nil
	}
	var parts [][]peer.ID // the peers of each point
	longest := 0
	for _, reports := range n.reports {
		parts = append(parts, slices.Collect(maps.Keys(reports)))
		longest = max(longest, len(reports))
	}
	var live []Sighting
	taken := make(map[peer.ID]struct{})
	for i := range longest {
		for _, part := range parts {
			if i >= len(part) {
				continue
			}
			if limit > 0 && len(live) == limit {
				return live
			}
			if _, twice := taken[part[i]]; twice {
				continue
			}
			taken[part[i]] = struct{}{}
			current, _ := n.current(part[i])
			live = append(live, current)
		}
	}
	return live
}

// Version returns a number that changes whenever a peer comes or goes, or has other
// records. It is 0 while no peer is known.
func (s *Sightings) Version(ns string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(ns)
	if n := s.namespaces[ns]; n != nil {
		return n.version
	}
	return 0
}

// NextExpiry returns when the next registration in the namespace ends, or the zero
// time if there is none.
func (s *Sightings) NextExpiry(ns string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(ns)
	n := s.namespaces[ns]
	if n == nil {
		return time.Time{}
	}
	n.expiry = n.nextExpiry()
	return n.expiry
}

// change calls f, which changes what points say of a peer, and gives the namespace a
// new version if the peer then looks different.
func (s *Sightings) change(n *namespace, id peer.ID, f func()) {
	before, was := n.current(id)
	f()
	after, is := n.current(id)
	if was != is || !before.same(after) {
		s.version++
		n.version = s.version
	}
}

// replace puts what a point says of a peer in place of what it said before, if it fits into the
// point's share.
func (s *Sightings) replace(n *namespace, point peer.ID, sighting Sighting) {
	id := sighting.Peer.ID
	s.remove(n, point, id)
	w := &report{Sighting: sighting, in: n, at: s.now(), memory: memoryOf(sighting)}
	w.rank = rankOf(s.seed, w)
	if !s.makeRoomFor(w, point) {
		return
	}
	if n.reports[point] == nil {
		n.reports[point] = make(map[peer.ID]*report)
	}
	n.reports[point][id] = w
	n.expectExpiry(w.Until)
	if s.shares[point] == nil {
		s.shares[point] = new(share)
	}
	s.shares[point].add(w)
	s.memory += w.memory
}

// makeRoomFor forgets reports of a higher rank in the share of a point until a new one fits. It
// reports false if there are not enough of these.
func (s *Sightings) makeRoomFor(w *report, point peer.ID) bool {
	if w.memory > maxShare {
		return false
	}
	for share := s.shares[point]; share != nil && share.memory+w.memory > maxShare; {
		share.leftOut = s.now()
		first := share.reports[0]
		if first.rank <= w.rank {
			return false
		}
		s.change(first.in, first.Peer.ID, func() { s.remove(first.in, point, first.Peer.ID) })
		if first.in != w.in {
			s.tidy(first.in.name)
		}
	}
	return true
}

// remove forgets what a point has said of a peer.
func (s *Sightings) remove(n *namespace, point, id peer.ID) {
	reports := n.reports[point]
	w, has := reports[id]
	if !has {
		return
	}
	delete(reports, id)
	if len(reports) == 0 {
		delete(n.reports, point)
	}
	s.memory -= w.memory
	share := s.shares[point]
	if share.remove(w); share.memory == 0 {
		delete(s.shares, point)
	}
}

// expire forgets what has expired in a namespace.
func (s *Sightings) expire(ns string) {
	n, now := s.namespaces[ns], s.now()
	if n == nil || now.Before(n.expiry) {
		return
	}
	for point, reports := range n.reports {
		for id, w := range reports {
			if !now.Before(w.Until) {
				s.change(n, id, func() { s.remove(n, point, id) })
			}
		}
	}
	n.expiry = n.nextExpiry()
	s.tidy(ns)
}

// sweep forgets what has expired in all namespaces, from time to time.
func (s *Sightings) sweep() {
	now := s.now()
	if now.Sub(s.swept) < sweepInterval {
		return
	}
	s.swept = now
	for ns := range s.namespaces {
		s.expire(ns)
	}
}

// tidy forgets a namespace without peers.
func (s *Sightings) tidy(ns string) {
	if len(s.namespaces[ns].reports) == 0 {
		delete(s.namespaces, ns)
	}
}
