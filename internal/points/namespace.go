package points

import (
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// maxAddrs is how many addresses of a peer are handed out if points have different
// records of it.
const maxAddrs = 16

// Sighting is a peer in a namespace, as a point says. Nobody writes to its addresses.
type Sighting struct {
	Peer  peer.AddrInfo
	Seq   uint64    // of the peer's record: the highest if points have different records
	Until time.Time // when the registration ends
}

// namespace is what the points have said about one namespace.
type namespace struct {
	version uint64
	said    map[peer.ID]map[peer.ID]*report // by point, then by peer
	expiry  time.Time                       // earliest time at which one may end
}

// report is what one point said of one peer.
type report struct {
	Sighting
	said   time.Time
	memory int // bytes
}

// current returns what the points say of a peer now, and when the last of the peer's
// registrations ends. If they have different records, it has addresses of each of them.
// All are signed by the peer, and nobody can tell which is the newest: the higher
// sequence number may be from before the peer's clock was set back, and any point can
// repeat an old record for as long as it likes.
func (n *namespace) current(id peer.ID) (current Sighting, known bool) {
	var by peer.ID
	var until time.Time
	differ := false
	for point, said := range n.said {
		w, has := said[id]
		if !has {
			continue
		}
		differ = differ || known && w.Seq != current.Seq
		if !known || w.Seq > current.Seq || w.Seq == current.Seq && point < by {
			current, by, known = w.Sighting, point, true
		}
		if w.Until.After(until) {
			until = w.Until
		}
	}
	current.Until = until
	if differ {
		current.Peer.Addrs = n.mergedAddrs(id)
	}
	return current, known
}

// mergedAddrs returns addresses of each record of a peer in turn, beginning with the
// record of the highest sequence number.
func (n *namespace) mergedAddrs(id peer.ID) []ma.Multiaddr {
	bySeq := make(map[uint64][]ma.Multiaddr)
	longest := 0
	for _, point := range slices.Sorted(maps.Keys(n.said)) {
		w := n.said[point][id]
		if w == nil || bySeq[w.Seq] != nil {
			continue
		}
		bySeq[w.Seq] = w.Peer.Addrs
		longest = max(longest, len(w.Peer.Addrs))
	}
	seqs := slices.Sorted(maps.Keys(bySeq))
	slices.Reverse(seqs)
	var merged []ma.Multiaddr
	for i := range longest {
		for _, seq := range seqs {
			addrs := bySeq[seq]
			if i < len(addrs) && len(merged) < maxAddrs && !slices.ContainsFunc(merged, addrs[i].Equal) {
				merged = append(merged, addrs[i])
			}
		}
	}
	return merged
}

// same reports whether two sightings of a peer mean the same record or records.
func (s Sighting) same(other Sighting) bool {
	return s.Seq == other.Seq && slices.EqualFunc(s.Peer.Addrs, other.Peer.Addrs, ma.Multiaddr.Equal)
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
// reports whether it did. That is the usual case, and five times as fast as replacing the
// record.
func (n *namespace) renew(point peer.ID, sighting Sighting, now time.Time) bool {
	w := n.said[point][sighting.Peer.ID]
	if w == nil || w.Seq != sighting.Seq {
		return false
	}
	w.Until, w.said = sighting.Until, now
	n.expectExpiry(w.Until)
	return true
}

// expectExpiry moves expiry to at if it is later.
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
		component = 32  // without its bytes
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
