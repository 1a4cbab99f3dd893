package limit

import (
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrOriginLimit: the origin has as many live registrations as it may have.
var ErrOriginLimit = errors.New("address is at its registration limit")

// Registrations limits the live registrations of each origin. A registration counts for
// the origin that it was last made from, if that had room. The limit never refuses the
// refresh of a live registration.
//
// It takes about 60 bytes for each live registration, and frees them when that ends.
type Registrations struct {
	perOrigin int // 0: no limit, and nothing is counted
	seed      maphash.Seed
	epoch     time.Time

	mu       sync.Mutex
	live     shrinkingMap[uint64, registration] // by the hash of namespace and peer
	reserved map[uint64]struct{}                // which of live were not confirmed yet
	counts   shrinkingMap[Origin, *count]
	ending   shrinkingMap[tick, []uint64] // which of live to look at when a tick has passed
	passed   tick                         // the last tick that was taken from ending
}

// registration is one live registration.
type registration struct {
	count  *count // of its origin
	ends   tick
	queued tick // where in ending it is; not after ends
}

// count is how many live registrations an origin has.
type count struct {
	origin Origin
	n      int
}

// tick is a time in tenths of a second since the epoch.
type tick uint32

const tickLength = 100 * time.Millisecond

// Place is the place of a registration within its origin's limit, from [Registrations.Reserve]
// until [Registrations.Confirm] or [Registrations.Release]. The zero Place is that of a
// registration that no limit counts.
type Place struct {
	origin Origin
	hash   uint64 // of namespace and peer
	ends   tick
	added  bool // Reserve counted it: it was not live before
}

// NewRegistrations returns a limit of perOrigin live registrations. 0 means no limit. No
// time that is passed later may be before now.
func NewRegistrations(perOrigin int, now time.Time) *Registrations {
	return &Registrations{
		perOrigin: perOrigin,
		seed:      maphash.MakeSeed(),
		epoch:     now,
		live:      newShrinkingMap[uint64, registration](),
		reserved:  make(map[uint64]struct{}),
		counts:    newShrinkingMap[Origin, *count](),
		ending:    newShrinkingMap[tick, []uint64](),
	}
}

// Reserve counts a registration of p in a namespace that is about to be stored, until a
// deadline, so that no two can take the last place of an origin. It returns
// [ErrOriginLimit] if the origin is full and has no such registration yet. The caller
// calls Confirm or Release with the place.
func (r *Registrations) Reserve(o Origin, namespace string, p peer.ID, deadline, now time.Time) (Place, error) {
	if r.perOrigin == 0 || o.exempt() {
		return Place{}, nil
	}
	place := Place{origin: o, hash: r.hash(namespace, p), ends: r.tickAfter(deadline)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evict(now)
	if _, lives := r.live.m[place.hash]; lives {
		return place, nil
	}
	if r.isFull(o) {
		return Place{}, ErrOriginLimit
	}
	place.added = true
	r.reserved[place.hash] = struct{}{}
	r.add(place)
	return place, nil
}

// hash returns what a registration goes by, in 8 bytes instead of a hundred. No peer knows
// the seed, so nobody can make two registrations collide.
func (r *Registrations) hash(namespace string, p peer.ID) uint64 {
	return maphash.Comparable(r.seed, struct {
		namespace string
		peer      peer.ID
	}{namespace, p})
}

// Confirm says that the registration was stored.
func (r *Registrations) Confirm(place Place) {
	if place.origin.exempt() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reserved, place.hash)
	g, lives := r.live.m[place.hash]
	if !lives { // it ended while it was being refreshed
		r.add(place)
		return
	}
	if g.count.origin != place.origin && !r.isFull(place.origin) {
		r.uncount(g.count)
		g.count = r.countOne(place.origin)
	}
	r.setEnd(place.hash, g, place.ends)
}

// Release says that the registration was not stored. A live one that it would have
// refreshed still counts.
func (r *Registrations) Release(place Place) {
	if !place.added {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, unconfirmed := r.reserved[place.hash]; unconfirmed {
		r.remove(place.hash, r.live.m[place.hash])
	}
}

// Sweep frees the memory of registrations that have ended.
func (r *Registrations) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evict(now)
	r.live.shrink()
	r.counts.shrink()
	r.ending.shrink()
}

// evict removes what has ended. It looks at what ended or was refreshed since the last
// time, and at nothing else. r.mu is held, as it is for the methods below.
func (r *Registrations) evict(now time.Time) {
	for upTo := r.tickBefore(now); r.passed < upTo; {
		r.passed++
		for _, hash := range r.ending.m[r.passed] {
			g, lives := r.live.m[hash]
			switch {
			case !lives || g.queued != r.passed: // released, or queued again since
			case g.ends > r.passed:
				r.queue(hash, g)
			default:
				r.remove(hash, g)
			}
		}
		delete(r.ending.m, r.passed)
	}
}

func (r *Registrations) isFull(o Origin) bool {
	c := r.counts.m[o]
	return c != nil && c.n >= r.perOrigin
}

func (r *Registrations) add(place Place) {
	g := registration{count: r.countOne(place.origin), queued: math.MaxUint32}
	r.setEnd(place.hash, g, place.ends)
}

// setEnd stores when a registration ends, which is not before the next tick. It is queued
// again if it ends sooner than evict would look at it; if later, evict queues it again.
func (r *Registrations) setEnd(hash uint64, g registration, ends tick) {
	g.ends = max(ends, r.passed+1)
	if g.ends < g.queued {
		r.queue(hash, g)
		return
	}
	r.live.set(hash, g)
}

func (r *Registrations) queue(hash uint64, g registration) {
	g.queued = g.ends
	r.live.set(hash, g)
	r.ending.set(g.queued, append(r.ending.m[g.queued], hash))
}

func (r *Registrations) remove(hash uint64, g registration) {
	delete(r.live.m, hash)
	delete(r.reserved, hash)
	r.uncount(g.count)
}

// countOne counts one more registration of an origin.
func (r *Registrations) countOne(o Origin) *count {
	c := r.counts.m[o]
	if c == nil {
		c = &count{origin: o}
		r.counts.set(o, c)
	}
	c.n++
	return c
}

func (r *Registrations) uncount(c *count) {
	if c.n--; c.n == 0 {
		delete(r.counts.m, c.origin)
	}
}

// tickAfter returns the first tick that is not before t.
func (r *Registrations) tickAfter(t time.Time) tick {
	since := t.Sub(r.epoch)
	n := since / tickLength
	if since%tickLength > 0 {
		n++
	}
	return toTick(n)
}

// tickBefore returns the last tick that is not after t.
func (r *Registrations) tickBefore(t time.Time) tick {
	return toTick(t.Sub(r.epoch) / tickLength)
}

// toTick returns n, or the closest number that a tick can be and that has one after it.
func toTick(n time.Duration) tick {
	return tick(min(max(n, 0), math.MaxUint32-1))
}
