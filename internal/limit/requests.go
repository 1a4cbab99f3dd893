package limit

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// peersPerOrigin is how many peers' rates and bursts an origin has. A thousand identities
// behind one address get as much as twenty peers.
const peersPerOrigin = 20

// Requests limits the requests of each peer and of each origin. It is safe for concurrent
// use.
type Requests struct {
	peers   buckets[peer.ID]
	origins buckets[Origin]
}

// NewRequests returns limits of perSecond requests in the long run and burst at once, for
// each peer. An origin has twenty times as much. A perSecond of 0 is no limit.
func NewRequests(perSecond float64, burst int) *Requests {
	return &Requests{
		peers:   newBuckets[peer.ID](perSecond, burst),
		origins: newBuckets[Origin](perSecond*peersPerOrigin, burst*peersPerOrigin),
	}
}

// Charge charges a peer and its origin for a request.
func (r *Requests) Charge(p peer.ID, o Origin, now time.Time) Verdict {
	v := r.peers.take(p, now)
	if o.limited() && v != Drop {
		v = max(v, r.origins.take(o, now))
	}
	return v
}

// InDebt reports whether the next request would be dropped. It charges nothing.
func (r *Requests) InDebt(p peer.ID, o Origin, now time.Time) bool {
	return r.peers.inDebt(p, now) || o.limited() && r.origins.inDebt(o, now)
}

// Sweep frees the memory of full buckets.
func (r *Requests) Sweep(now time.Time) {
	r.peers.sweep(now)
	r.origins.sweep(now)
}
