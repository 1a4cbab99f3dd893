package rendezvous

// How many registrations a point takes from one address.

import (
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// errIPLimit: the subnet that a peer comes from has all the registrations it may.
var errIPLimit = errors.New("subnet is at its registration limit")

// subnetLedger counts live registrations per subnet, and knows for each which subnet it
// counts against. It takes about 50 bytes for each, and gives them back when the
// registration has ended.
type subnetLedger struct {
	limit int // per subnet; 0: none, and nothing is kept
	seed  maphash.Seed
	epoch time.Time

	mu    sync.Mutex
	held  map[uint64]holding // by the hash of namespace and peer
	count map[subnet]int
	due   map[tick][]uint64 // each of held under its holding's queued
	last  tick              // all up to here were taken from due
	peak  int               // most entries since held was made
}

// holding is one registration in a ledger.
type holding struct {
	subnet subnet
	ends   tick
	queued tick // when to see whether it has ended; not after ends
}

// tick is a time in tenths of a second from a ledger's epoch.
type tick uint32

const tickLength = 100 * time.Millisecond

func newSubnetLedger(limit int, now time.Time) *subnetLedger {
	return &subnetLedger{
		limit: limit,
		seed:  maphash.MakeSeed(),
		epoch: now,
		held:  make(map[uint64]holding),
		count: make(map[subnet]int),
		due:   make(map[tick][]uint64),
	}
}

// key is what a registration goes by in the ledger. No peer can know the seed, so
// none can make two of them collide.
func (l *subnetLedger) key(ns string, p peer.ID) uint64 {
	return maphash.Comparable(l.seed, struct {
		ns   string
		peer peer.ID
	}{ns, p})
}

// ticks is t in ticks, rounded up.
func (l *subnetLedger) ticks(t time.Time) tick {
	return tick((t.Sub(l.epoch) + tickLength - 1) / tickLength)
}

// reserve counts a registration that is about to be made, so that no two can take
// a subnet's last place. One that lives already is not counted again and never
// refused. What comes of it is told by keep or, where it is fresh, by release.
func (l *subnetLedger) reserve(c *caller, key uint64, until, now time.Time) (fresh bool, err error) {
	if l.limit == 0 || !c.located {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if _, lives := l.held[key]; lives {
		return false, nil
	}
	if l.count[c.subnet] >= l.limit {
		return false, errIPLimit
	}
	l.add(c.subnet, key, l.ticks(until))
	return true, nil
}

// keep records that a registration was made, and until when it lives. It counts
// against the subnet that it was last made from, if there is room.
func (l *subnetLedger) keep(c *caller, key uint64, until time.Time) {
	if l.limit == 0 || !c.located {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h, lives := l.held[key]
	if !lives { // it was refreshed while it ended
		l.add(c.subnet, key, l.ticks(until))
		return
	}
	if h.subnet != c.subnet && l.count[c.subnet] < l.limit {
		l.uncount(h.subnet)
		l.count[c.subnet]++
		h.subnet = c.subnet
	}
	h.ends = l.ticks(until)
	if h.ends < h.queued { // it was shortened
		l.queue(key, h)
		return
	}
	l.held[key] = h
}

// release forgets a fresh registration that was not made.
func (l *subnetLedger) release(key uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(key)
}

func (l *subnetLedger) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	l.held, l.peak = shrink(l.held, l.peak)
}

// expire forgets what has ended by now. Its cost is that of what ended or was
// refreshed since the last time. l.mu is held.
func (l *subnetLedger) expire(now time.Time) {
	for upTo := tick(now.Sub(l.epoch) / tickLength); l.last < upTo; {
		l.last++
		for _, key := range l.due[l.last] {
			h, ok := l.held[key]
			switch {
			case !ok || h.queued != l.last: // released, or queued anew since
			case h.ends > l.last:
				l.queue(key, h)
			default:
				l.remove(key)
			}
		}
		delete(l.due, l.last)
	}
}

// add counts a registration. l.mu is held, and so it is for those below.
func (l *subnetLedger) add(at subnet, key uint64, ends tick) {
	l.queue(key, holding{subnet: at, ends: max(ends, l.last+1)})
	l.count[at]++
	l.peak = max(l.peak, len(l.held))
}

// queue has a holding looked at when it should end.
func (l *subnetLedger) queue(key uint64, h holding) {
	h.queued = h.ends
	l.held[key] = h
	l.due[h.queued] = append(l.due[h.queued], key)
}

func (l *subnetLedger) remove(key uint64) {
	if h, ok := l.held[key]; ok {
		delete(l.held, key)
		l.uncount(h.subnet)
	}
}

func (l *subnetLedger) uncount(at subnet) {
	if l.count[at]--; l.count[at] <= 0 {
		delete(l.count, at)
	}
}
