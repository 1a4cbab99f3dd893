package points

import (
	"cmp"
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
	name    string
	version uint64
	reports map[peer.ID]map[peer.ID]*report // by point, then by peer
	expiry  time.Time                       // earliest time at which one may end
}

// report is what one point said of one peer.
type report struct {
	Sighting
	in     *namespace
	at     time.Time
	memory int     // bytes
	rank   float64 // in the point's share
	place  int     // in the share's heap
}

// current returns what the points say of a peer now, and when the last of the peer's
// registrations ends. If they have different records, it has addresses of each of them.
// All are signed by the peer, and nobody can tell which is the newest: the higher
// sequence number may be from before the peer's clock was set back, and any point can
// repeat an old record for as long as it likes. If they have the same record, it has the
// addresses of the point that shows the most of it.
func (n *namespace) current(id peer.ID) (current Sighting, known bool) {
	var until time.Time
	differ := false
	for _, reports := range n.reports {
		w, has := reports[id]
		if !has {
			continue
		}
		differ = differ || known && !w.sameRecord(current)
		if !known || w.Seq > current.Seq || w.Seq == current.Seq && len(w.Peer.Addrs) > len(current.Peer.Addrs) {
			current, known = w.Sighting, true
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
	var reports []*report
	longest := 0
	for _, point := range slices.Sorted(maps.Keys(n.reports)) {
		if w := n.reports[point][id]; w != nil {
			reports = append(reports, w)
			longest = max(longest, len(w.Peer.Addrs))
		}
	}
	slices.SortStableFunc(reports, func(a, b *report) int { return cmp.Compare(b.Seq, a.Seq) })
	var merged []ma.Multiaddr
	for i := range longest {
		for _, w := range reports {
			addrs := w.Peer.Addrs
			if i < len(addrs) && len(merged) < maxAddrs && !slices.ContainsFunc(merged, addrs[i].Equal) {
				merged = append(merged, addrs[i])
			}
		}
	}
	return merged
}

// same reports whether two sightings of a peer mean the same record or records, and the same
// addresses of them.
func (s Sighting) same(other Sighting) bool {
	return s.Seq == other.Seq && len(s.Peer.Addrs) == len(other.Peer.Addrs) && begins(s.Peer.Addrs, other.Peer.Addrs)
}

// sameRecord reports whether two sightings of a peer are of one record. What a point shows of
// a record depends on where the point is: the first addresses, the most widely reachable ones, or
// also those that make sense in the point's network.
func (s Sighting) sameRecord(other Sighting) bool {
	return s.Seq == other.Seq && (begins(s.Peer.Addrs, other.Peer.Addrs) || begins(other.Peer.Addrs, s.Peer.Addrs))
}

// begins reports whether long begins with the addresses of short. Both are usually parts of
// one slice, that of the verified record.
func begins(long, short []ma.Multiaddr) bool {
	if len(short) == 0 || len(short) > len(long) {
		return len(short) == 0
	}
	return &long[0] == &short[0] || slices.EqualFunc(short, long[:len(short)], ma.Multiaddr.Equal)
}

// nextExpiry returns when the next registration ends, or the zero time.
func (n *namespace) nextExpiry() (next time.Time) {
	for _, reports := range n.reports {
		for _, w := range reports {
			if next.IsZero() || w.Until.Before(next) {
				next = w.Until
			}
		}
	}
	return next
}

// renew moves the end of a registration if the point says the same record as before, with
// the same addresses, and reports whether it did. That is the usual case, and five times as
// fast as replacing the record. The addresses differ if the connection to the point is now
// over another network.
func (n *namespace) renew(point peer.ID, sighting Sighting, now time.Time) bool {
	w := n.reports[point][sighting.Peer.ID]
	if w == nil || !w.same(sighting) {
		return false
	}
	w.Until, w.at = sighting.Until, now
	n.expectExpiry(w.Until)
	return true
}

// expectExpiry sets expiry to at if at is earlier.
func (n *namespace) expectExpiry(at time.Time) {
	if n.expiry.IsZero() || at.Before(n.expiry) {
		n.expiry = at
	}
}

// memoryOf estimates how much memory a sighting takes, in bytes.
func memoryOf(s Sighting) int {
	const (
		entry     = 272 // in the map and the heap, with the peer's ID
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
