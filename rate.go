package rendezvous

// How many requests a point takes from one peer and from one address.

import (
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// verdict is what becomes of a request.
type verdict int

const (
	serve   verdict = iota
	decline         // answer that there were too many
	drop            // end the stream
)

// requestLimit limits requests, per peer and per subnet. One peer's share of its
// subnet is a twentieth, so that a thousand identities behind one address get what
// twenty peers do.
type requestLimit struct {
	peers   bucketTable[peer.ID]
	subnets bucketTable[subnet]
}

const peersPerSubnet = 20

func newRequestLimit(perSecond float64, burst int) *requestLimit {
	return &requestLimit{
		peers:   newBucketTable[peer.ID](perSecond, burst),
		subnets: newBucketTable[subnet](perSecond*peersPerSubnet, burst*peersPerSubnet),
	}
}

// spent tells whether the caller's next request would be dropped. It costs the caller nothing.
func (l *requestLimit) spent(c *caller, now time.Time) bool {
	return l.peers.spent(c.peer, now) || c.located && l.subnets.spent(c.subnet, now)
}

// take charges the caller for a request.
func (l *requestLimit) take(c *caller, now time.Time) verdict {
	v := l.peers.take(c.peer, now)
	if c.located && v != drop {
		v = max(v, l.subnets.take(c.subnet, now))
	}
	return v
}

func (l *requestLimit) sweep(now time.Time) {
	l.peers.sweep(now)
	l.subnets.sweep(now)
}

// maxBuckets bounds a table's memory, to about 10 MiB. Beyond it, one bucket is
// forgotten for each new one: to a peer with so many identities or addresses, the
// debt of one is no loss.
const maxBuckets = 1 << 16

// bucketTable is a token bucket for each key. A bucket is kept as the time at which
// it will be full again, and one that is full is not kept at all.
//
// A request that finds its bucket empty is declined and costs a quarter of one,
// which puts the bucket into debt: who goes a little over the rate still gets the
// rate, who sends four times of it gets nothing, and whose debt is another bucket
// is not heard until some of it is paid.
type bucketTable[K comparable] struct {
	cost time.Duration // in which a bucket gains what one request takes; 0: no limit
	size time.Duration // in which an empty bucket fills

	mu     sync.Mutex
	fullAt map[K]time.Time
	peak   int // most entries since fullAt was made
}

func newBucketTable[K comparable](perSecond float64, burst int) bucketTable[K] {
	if perSecond == 0 {
		return bucketTable[K]{}
	}
	cost := max(1, time.Duration(float64(time.Second)/perSecond))
	return bucketTable[K]{cost: cost, size: cost * time.Duration(burst), fullAt: make(map[K]time.Time)}
}

func (t *bucketTable[K]) spent(k K, now time.Time) bool {
	if t.cost == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fullAt[k].Sub(now) >= 2*t.size
}

func (t *bucketTable[K]) take(k K, now time.Time) verdict {
	if t.cost == 0 {
		return serve
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	missing := max(0, t.fullAt[k].Sub(now))
	v := serve
	switch {
	case missing+t.cost <= t.size:
		missing += t.cost
	case missing < 2*t.size:
		missing += t.cost / 4
		v = decline
	default:
		return drop
	}
	if _, known := t.fullAt[k]; !known && len(t.fullAt) >= maxBuckets {
		for one := range t.fullAt {
			delete(t.fullAt, one)
			break
		}
	}
	t.fullAt[k] = now.Add(missing)
	t.peak = max(t.peak, len(t.fullAt))
	return v
}

// sweep gives back what full buckets take.
func (t *bucketTable[K]) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.fullAt, func(_ K, at time.Time) bool { return !now.Before(at) })
	t.fullAt, t.peak = shrink(t.fullAt, t.peak)
}
