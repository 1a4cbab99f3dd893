package points

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Sighting is a peer in a namespace, as a point says. Nobody writes to its addresses.
type Sighting struct {
	Peer  peer.AddrInfo
	Seq   uint64    // of the peer's record: of the records of several points, the highest is the newest
	Until time.Time // when the registration ends
}

// namespace is what the points have said about one namespace.
type namespace struct {
	version uint64
	said    map[peer.ID]map[peer.ID]*word // by point, then by peer
	expiry  time.Time                     // no registration ends before
}

// word is what one point says of one peer.
type word struct {
	Sighting
	memory int // bytes
}

// newest returns the newest record of a peer that a point has said, and when the last of
// the peer's registrations ends. Between records of the same number, the points' IDs
// decide, so that the answer does not change from call to call.
func (n *namespace) newest(id peer.ID) (newest Sighting, known bool) {
	var by peer.ID
	var until time.Time
	for point, said := range n.said {
		w, has := said[id]
		if !has {
			continue
		}
		if !known || w.Seq > newest.Seq || w.Seq == newest.Seq && point < by {
			newest, by, known = w.Sighting, point, true
		}
		if w.Until.After(until) {
			until = w.Until
		}
	}
	newest.Until = until
	return newest, known
}

// nextExpiry returns when the next registration ends, or the zero time.
func (n *namespace) nextExpiry() (next time.Time) {
	for _, said := range n.said {
		for _, w := range said {
			if next.IsZero() || w.Until.Before(next) {
				next = w.Until
			}
		}
	}
	return next
}

// renew updates when a registration ends if the point says the same record as before, and
// reports whether it did. That is the usual case, and five times faster than to replace
// the record.
func (n *namespace) renew(point peer.ID, sighting Sighting) bool {
	w := n.said[point][sighting.Peer.ID]
	if w == nil || w.Seq != sighting.Seq {
		return false
	}
	w.Until = sighting.Until
	n.expectExpiry(w.Until)
	return true
}

// expectExpiry lets expiry be no later than at.
func (n *namespace) expectExpiry(at time.Time) {
	if n.expiry.IsZero() || at.Before(n.expiry) {
		n.expiry = at
	}
}

// memoryOf estimates how much memory a sighting takes, in bytes.
func memoryOf(s Sighting) int {
	const (
		entry     = 224 // in the map, with the peer's ID
		addr      = 24  // without its components
		component = 48  // without its bytes
	)
	n := entry
	for _, a := range s.Peer.Addrs {
		n += addr
		for i := range a { // each by itself: Bytes of the whole address would allocate
			n += component + len(a[i].Bytes())
		}
	}
	return n
}
