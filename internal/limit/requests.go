package limit

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// peersPerOrigin is how many peers' rate all peers of an origin have together. A thousand
// identities at one address get what twenty get.
const peersPerOrigin = 20

// Requests limits requests per peer, and per origin to twenty times as many. It remembers
// up to 65,536 peers and as many origins; beyond, it forgets one for each new one.
type Requests struct {
	peers   *buckets[peer.ID]
	origins *buckets[Origin]
}

// NewRequests returns limits of perSecond requests in the long run, and of burst requests
// at once, which is at least 1. A perSecond of 0 means no limit.
func NewRequests(perSecond float64, burst int) *Requests {
	now := time.Now()
	return &Requests{
		peers:   newBuckets[peer.ID](perSecond, float64(burst), now),
		origins: newBuckets[Origin](perSecond*peersPerOrigin, float64(burst)*peersPerOrigin, now),
	}
}

// Charge charges p and its origin for a request, and decides about the request. A declined
// request costs a quarter of a served one, and a dropped one costs its peer nothing.
func (r *Requests) Charge(p peer.ID, o Origin, now time.Time) Verdict {
	verdict := r.peers.charge(p, now)
	if verdict == Drop || !o.limited() {
		return verdict
	}
	return max(verdict, r.origins.charge(o, now))
}

// InDebt reports whether Charge would return [Drop], without charging anybody.
func (r *Requests) InDebt(p peer.ID, o Origin, now time.Time) bool {
	return r.peers.inDebt(p, now) || o.limited() && r.origins.inDebt(o, now)
}

// Sweep frees the memory of budgets that are untouched again.
func (r *Requests) Sweep(now time.Time) {
	r.peers.sweep(now)
	r.origins.sweep(now)
}
