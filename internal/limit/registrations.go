package limit

import (
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrOriginLimit: the origin has all the registrations that it may have.
var ErrOriginLimit = errors.New("address is at its registration limit")

// tick is a time in tenths of a second since a Registrations was made.
type tick uint32

const tickLength = 100 * time.Millisecond

// Registrations limits how many live registrations come from one origin. It is safe for
// concurrent use. A registration takes about 50 bytes until it has ended.
type Registrations struct {
	perOrigin int // 0: no limit, and nothing is stored
	seed      maphash.Seed
	epoch     time.Time

	mu    sync.Mutex
	live  map[uint64]registration // by the hash of namespace and peer
	count map[Origin]int
	due   map[tick][]uint64 // the registrations to check at each tick
	last  tick              // the ticks up to this one are over
	peak  int               // most entries since live was made
}

// registration is a live registration.
type registration struct {
	origin Origin
	ends   tick
	check  tick // when to check whether it has ended; not after ends
}

// Place is a registration's place within the limit of its origin, from
// [Registrations.Reserve]. The zero Place is that of a registration without a limit.
type Place struct {
	hash   uint64
	origin Origin
	ends   tick
	isNew  bool
}

// NewRegistrations returns a limit of perOrigin registrations for each origin. 0 is no
// limit.
func NewRegistrations(perOrigin int, now time.Time) *Registrations {
	return &Registrations{
		perOrigin: perOrigin,
		seed:      maphash.MakeSeed(),
		epoch:     now,
		live:      make(map[uint64]registration),
		count:     make(map[Origin]int),
		due:       make(map[tick][]uint64),
	}
}

// Reserve reserves a place for a registration that is about to be made, so that no two
// can take the last place of an origin. A live registration keeps its place and is never
// refused. The caller then calls Confirm or Release.
func (r *Registrations) Reserve(o Origin, namespace string, p peer.ID, until, now time.Time) (Place, error) {
	if r.perOrigin == 0 || !o.limited() {
		return Place{}, nil
	}
	place := Place{hash: r.hash(namespace, p), origin: o, ends: r.ticks(until)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	if _, live := r.live[place.hash]; live {
		return place, nil
	}
	if r.count[o] >= r.perOrigin {
		return Place{}, ErrOriginLimit
	}
	place.isNew = true
	r.add(place)
	return place, nil
}

// Confirm records that the registration was made. It counts against the origin that it
// was last made from, if that has room.
func (r *Registrations) Confirm(p Place) {
	if !p.origin.limited() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, live := r.live[p.hash]
	if !live { // it ended while it was refreshed
		r.add(p)
		return
	}
	if l.origin != p.origin && r.count[p.origin] < r.perOrigin {
		r.uncount(l.origin)
		r.count[p.origin]++
		l.origin = p.origin
	}
	l.ends = p.ends
	if l.ends < l.check { // its life was shortened
		r.schedule(p.hash, l)
		return
	}
	r.live[p.hash] = l
}

// Release records that the registration was not made.
func (r *Registrations) Release(p Place) {
	if !p.isNew {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(p.hash)
}

// Sweep frees the memory of registrations that have ended.
func (r *Registrations) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	r.live, r.peak = shrink(r.live, r.peak)
}

// hash identifies a registration. No peer knows the seed, so none can make two
// registrations collide.
func (r *Registrations) hash(namespace string, p peer.ID) uint64 {
	return maphash.Comparable(r.seed, struct {
		namespace string
		peer      peer.ID
	}{namespace, p})
}

// ticks converts t to ticks, rounded up.
func (r *Registrations) ticks(t time.Time) tick {
	return tick((t.Sub(r.epoch) + tickLength - 1) / tickLength)
}

// expire removes registrations that have ended. It looks only at those that ended or were
// refreshed since the last call. r.mu is held, as it is for the methods below.
func (r *Registrations) expire(now time.Time) {
	for current := tick(now.Sub(r.epoch) / tickLength); r.last < current; {
		r.last++
		for _, hash := range r.due[r.last] {
			l, live := r.live[hash]
			switch {
			case !live || l.check != r.last: // released, or scheduled again since
			case l.ends > r.last:
				r.schedule(hash, l)
			default:
				r.remove(hash)
			}
		}
		delete(r.due, r.last)
	}
}

// add counts a registration.
func (r *Registrations) add(p Place) {
	r.schedule(p.hash, registration{origin: p.origin, ends: max(p.ends, r.last+1)})
	r.count[p.origin]++
	r.peak = max(r.peak, len(r.live))
}

// schedule stores a registration, to be checked when it should end.
func (r *Registrations) schedule(hash uint64, l registration) {
	l.check = l.ends
	r.live[hash] = l
	r.due[l.check] = append(r.due[l.check], hash)
}

func (r *Registrations) remove(hash uint64) {
	if l, live := r.live[hash]; live {
		delete(r.live, hash)
		r.uncount(l.origin)
	}
}

func (r *Registrations) uncount(o Origin) {
	if r.count[o]--; r.count[o] <= 0 {
		delete(r.count, o)
	}
}
