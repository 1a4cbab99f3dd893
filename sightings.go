package rendezvous

// Who was found in a namespace, and for how long that holds.

import (
	"maps"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxSightings is how many peers are kept on the word of one point, so that one
// that makes peers up fills its own part and no other.
const maxSightings = 2 * MaxDiscoverLimit

// sightings are the peers that were found in a namespace, until their registrations
// end. They are not safe for concurrent use.
type sightings struct {
	peers map[peer.ID]sighting
	by    map[peer.ID]int // how many on the word of each point
}

type sighting struct {
	info  peer.AddrInfo
	seq   uint64 // of the record
	until time.Time
	by    peer.ID // the point that had it first
}

func newSightings() sightings {
	return sightings{peers: make(map[peer.ID]sighting), by: make(map[peer.ID]int)}
}

// note adds what a point says. It returns the newest that is known of that peer,
// which may come from another point, and whether that is news.
func (s *sightings) note(point peer.ID, r Registration) (newest sighting, news bool) {
	until := time.Now().Add(r.TTL)
	seen, known := s.peers[r.Peer.ID]
	switch {
	case !known && s.by[point] == maxSightings:
		return sighting{info: r.Peer, seq: r.Seq, until: until, by: point}, false
	case !known:
		seen.by = point
		s.by[point]++
	}
	if news = !known || r.Seq > seen.seq; news {
		seen.info, seen.seq = r.Peer, r.Seq
	}
	if until.After(seen.until) {
		seen.until = until
	}
	s.peers[r.Peer.ID] = seen
	return seen, news
}

// expire takes out those whose registrations have ended, and reports whether there
// were any.
func (s *sightings) expire() bool {
	now, before := time.Now(), len(s.peers)
	maps.DeleteFunc(s.peers, func(_ peer.ID, seen sighting) bool {
		if now.Before(seen.until) {
			return false
		}
		if s.by[seen.by]--; s.by[seen.by] == 0 {
			delete(s.by, seen.by)
		}
		return true
	})
	return len(s.peers) < before
}

// next returns when the next registration ends, or no time where there is none.
func (s *sightings) next() (until time.Time) {
	for _, seen := range s.peers {
		if until.IsZero() || seen.until.Before(until) {
			until = seen.until
		}
	}
	return until
}
