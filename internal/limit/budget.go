package limit

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Budget limits what each peer uses of something, such as requests or bytes, to a rate
// and a burst. All peers of an [Origin] together may use twenty times as much, those of
// an IPv6 /56 four times as much as a /64, and those of a /48 sixteen times.
//
// A budget remembers up to 65,536 peers and as many networks. Beyond that, it forgets
// one for each new one. Methods may be called by many goroutines at the same time.
type Budget struct {
	perUnit float64 // nanoseconds in which a peer's bucket gains one unit; 0: no limit
	epoch   time.Time

	mu       sync.Mutex
	peers    buckets[peer.ID]
	networks buckets[Origin]
}

// NewBudget returns a budget of perSecond units in the long run and of burst units at
// once, which is at least 1. A perSecond of 0 means no limit.
func NewBudget(perSecond, burst float64) *Budget {
	b := &Budget{epoch: time.Now()}
	var fill time.Duration
	if perSecond > 0 {
		burst = min(max(burst, 1), float64(maxFill))
		b.perUnit = min(max(float64(time.Second)/perSecond, 1), float64(maxFill/2)/burst)
		fill = max(1, time.Duration(b.perUnit*burst))
		fill += fill >> 40 // what floating point loses of the largest ones
	}
	b.peers, b.networks = newBuckets[peer.ID](fill), newBuckets[Origin](fill)
	return b
}

// Charge charges a peer and the networks that it is in, and decides about what it asks
// for. All of them are checked before any is charged. What is declined costs a quarter
// unit, and what is dropped costs nothing.
//
// So a peer slightly over its rate still gets its rate, and a peer at four times its rate
// or more gets nothing once its burst is used up. A price over the burst is the burst.
func (b *Budget) Charge(p peer.ID, o Origin, price float64, now time.Time) Verdict {
	if b.perUnit == 0 {
		return Serve
	}
	at := now.Sub(b.epoch)
	b.mu.Lock()
	defer b.mu.Unlock()
	verdict := b.quote(p, o, price, at)
	switch verdict {
	case Serve:
		b.charge(p, o, price, at)
	case Decline:
		b.charge(p, o, declined, at)
	case Drop:
	}
	return verdict
}

// declined is what a declined request costs.
const declined = 0.25

// ChargePeer is Charge for the peer alone, so that other peers of its networks
// cannot make it fail.
func (b *Budget) ChargePeer(p peer.ID, price float64, now time.Time) Verdict {
	return b.Charge(p, Origin{}, price, now)
}

// Take charges a peer and its networks if all of them can pay. Otherwise it charges
// none and returns false.
func (b *Budget) Take(p peer.ID, o Origin, price float64, now time.Time) bool {
	if b.perUnit == 0 {
		return true
	}
	at := now.Sub(b.epoch)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.quote(p, o, price, at) != Serve {
		return false
	}
	b.charge(p, o, price, at)
	return true
}

// Settle corrects what was charged: it charges more, or gives back a negative price.
func (b *Budget) Settle(p peer.ID, o Origin, price float64, now time.Time) {
	if b.perUnit == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charge(p, o, price, now.Sub(b.epoch))
}

// InDebt reports whether Charge would return [Drop] because of the peer itself. It does
// not look at the peer's networks, because a peer pays for a refresh alone.
func (b *Budget) InDebt(p peer.ID, now time.Time) bool {
	if b.perUnit == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers.quote(p, 0, now.Sub(b.epoch)) == Drop
}

// Sweep frees the memory of full buckets.
func (b *Budget) Sweep(now time.Time) {
	at := now.Sub(b.epoch)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers.sweep(at)
	b.networks.sweep(at)
}

// quote returns the worst verdict of the peer and its networks. If the peer itself is
// not served, its networks do not matter. b.mu is held.
func (b *Budget) quote(p peer.ID, o Origin, price float64, at time.Duration) Verdict {
	verdict := b.peers.quote(p, b.inTime(price, 1), at)
	for n, share := range o.networks() {
		if verdict == Drop {
			break
		}
		verdict = max(verdict, b.networks.quote(n, b.inTime(price, share), at))
	}
	return verdict
}

// charge charges the peer and its networks, even if they have less. b.mu is held.
func (b *Budget) charge(p peer.ID, o Origin, price float64, at time.Duration) {
	b.peers.charge(p, b.inTime(price, 1), at)
	for n, share := range o.networks() {
		b.networks.charge(n, b.inTime(price, share), at)
	}
}

// inTime converts a price to the time in which a bucket that is filled share times as
// fast as a peer's gains it.
func (b *Budget) inTime(price float64, share int) time.Duration {
	if price == 0 {
		return 0
	}
	t := min(max(price*b.perUnit/float64(share), -float64(maxFill)), float64(maxFill))
	if price > 0 {
		return max(1, time.Duration(t))
	}
	return time.Duration(t)
}
