package limit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// usualRecent is how many registrations a [Recent] remembers if there is no limit of
	// registrations. That many take about 140 MiB if each is from another
	// address; see BenchmarkRecentMemory.
	usualRecent = 1_000_000
	// maxVerified bounds the memory of each generation of verified envelopes to about 3 MiB.
	maxVerified = 1 << 16
	// sweepBatch is how many registrations Sweep looks at while others wait for the lock.
	sweepBatch = 1 << 12
)

// Recent remembers recent registrations, for storages that cannot look them up. Methods may
// be called by many goroutines at the same time.
//
// A registration is remembered until its deadline, and takes the place of the one before of
// the same peer in the same namespace. When there is no room, a new one is not remembered, and
// none is forgotten for it. The peers of an address, or of an IPv6 /48, have no more room than
// their registrations need. So nobody can make it forget the registrations of others.
//
// It also remembers envelopes whose signature was checked, so that a peer that registers in
// several namespaces is not charged for each check. There it forgets the oldest for new ones.
type Recent struct {
	most      int // registrations
	perSubnet int // registrations of an IPv4 address, and a sixteenth of those of an IPv6 /48; 0: no limit
	epoch     time.Time
	secret    [sha256.Size]byte // so that no peer can look for collisions of hashes

	mu         sync.Mutex
	registered shrinkingMap[uint64, registration] // by the hash of a peer and a namespace
	subnets    shrinkingMap[subnet, int]          // how many of registered each has
	verified   generations
}

// registration is what a peer has registered in a namespace.
type registration struct {
	envelope     uint64        // the start of its hash
	since, until time.Duration // since the epoch
	subnet       subnet        // that it counts for
}

// NewRecent returns an empty cache for a point that has this many registrations at most, of all
// peers and of each origin. 0 means no limit.
func NewRecent(total, perOrigin int) *Recent {
	if total == 0 {
		total = usualRecent
	}
	r := &Recent{
		most: total,
		// Registrations that have ended take up room until the next Sweep.
		perSubnet:  2 * perOrigin,
		epoch:      time.Now(),
		registered: newShrinkingMap[uint64, registration](),
		subnets:    newShrinkingMap[subnet, int](),
		verified:   generations{young: make(map[hash]time.Duration)},
	}
	_, _ = rand.Read(r.secret[:]) // it never fails
	return r
}

// Add remembers that a peer has registered an envelope in a namespace at a time, from an
// origin and until a deadline.
func (r *Recent) Add(namespace string, p peer.ID, envelope []byte, o Origin, deadline, at time.Time) {
	key, verified := r.hash(p, nil, namespace), r.hash(p, envelope, "")
	since, until := at.Sub(r.epoch), deadline.Sub(r.epoch)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verified.add(verified, max(until, r.verified.get(verified)))
	e := registration{envelope: verified.start(), since: since, until: until, subnet: o.subnet()}
	last, known := r.registered.m[key.start()]
	switch {
	case known && (last.subnet == e.subnet || r.full(e.subnet)):
		e.subnet = last.subnet // it counts where it counted before
	case known:
		r.uncount(last.subnet)
		r.count(e.subnet)
	case len(r.registered.m) >= r.most || r.full(e.subnet):
		return
	default:
		r.count(e.subnet)
	}
	r.registered.set(key.start(), e)
}

// full reports whether a subnet has as many registrations as it may. r.mu is held.
func (r *Recent) full(n subnet) bool {
	return n != 0 && r.perSubnet > 0 && r.subnets.m[n] >= r.perSubnet*n.share()
}

// count counts a registration for a subnet. r.mu is held.
func (r *Recent) count(n subnet) {
	if n != 0 {
		r.subnets.set(n, r.subnets.m[n]+1)
	}
}

// uncount counts a registration no longer for a subnet. r.mu is held.
func (r *Recent) uncount(n subnet) {
	if r.subnets.m[n] > 1 {
		r.subnets.m[n]--
	} else {
		delete(r.subnets.m, n)
	}
}

// Lookup reports whether the peer has registered the envelope lately, so that its signature
// was checked. left is how long the registration of this envelope in the namespace still
// lives, and at most 0 if there is none. age is how long ago it was made.
func (r *Recent) Lookup(namespace string, p peer.ID, envelope []byte, now time.Time) (verified bool, left, age time.Duration) {
	key, h := r.hash(p, nil, namespace), r.hash(p, envelope, "")
	at := now.Sub(r.epoch)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.registered.m[key.start()]; ok && e.envelope == h.start() && e.until > at {
		return true, e.until - at, at - e.since
	}
	return r.verified.get(h) > at, 0, 0
}

// Left returns how long the registration of the peer in the namespace still lives, whatever
// its envelope is. It is at most 0 if there is none.
func (r *Recent) Left(namespace string, p peer.ID, now time.Time) time.Duration {
	key := r.hash(p, nil, namespace)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registered.m[key.start()].until - now.Sub(r.epoch)
}

// Forget forgets the registration of a peer in a namespace, which the peer has ended.
func (r *Recent) Forget(namespace string, p peer.ID) {
	key := r.hash(p, nil, namespace)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(key.start())
}

// forget forgets a registration. r.mu is held.
func (r *Recent) forget(key uint64) {
	if e, ok := r.registered.m[key]; ok {
		delete(r.registered.m, key)
		r.uncount(e.subnet)
	}
}

// Sweep forgets what is no longer live. Others may use the cache in between, so that nobody
// waits for a large one.
func (r *Recent) Sweep(now time.Time) {
	at := now.Sub(r.epoch)
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := 0
	for key, e := range r.registered.m {
		if e.until <= at {
			r.forget(key)
		}
		if seen++; seen%sweepBatch == 0 {
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	r.registered.shrink()
	r.subnets.shrink()
	r.verified.sweep(at)
}

// hash is a part of a hash with a secret. The signature of an envelope whose hash is known is
// not checked again.
type hash [16]byte

// start returns the first bytes of a hash, which are enough for the registrations of a point.
func (h hash) start() uint64 { return binary.BigEndian.Uint64(h[:]) }

// hash returns the hash of a peer and either an envelope or a namespace.
func (r *Recent) hash(p peer.ID, envelope []byte, namespace string) (h hash) {
	s := sha256.New()
	s.Write(r.secret[:])
	_ = binary.Write(s, binary.BigEndian, [2]uint32{uint32(len(p)), uint32(len(envelope))})
	s.Write([]byte(p))
	s.Write(envelope)
	s.Write([]byte(namespace))
	var sum [sha256.Size]byte
	copy(h[:], s.Sum(sum[:0]))
	return h
}

// generations is a two-generation cache of verified envelopes: one that is registered again
// moves to the young generation. It is guarded by the lock of its [Recent].
type generations struct {
	young, old map[hash]time.Duration // until when each is remembered; none is in both
}

func (g *generations) add(h hash, until time.Duration) {
	if len(g.young) >= maxVerified {
		g.old, g.young = g.young, make(map[hash]time.Duration)
	}
	delete(g.old, h)
	g.young[h] = until
}

// get returns until when a hash is remembered.
func (g *generations) get(h hash) time.Duration {
	if until, ok := g.young[h]; ok {
		return until
	}
	return g.old[h]
}

// sweep forgets what has ended.
func (g *generations) sweep(at time.Duration) {
	live := make(map[hash]time.Duration)
	for h, until := range g.young {
		if until > at {
			live[h] = until
		}
	}
	g.young = live
	maps.DeleteFunc(g.old, func(_ hash, until time.Duration) bool { return until <= at })
	if len(g.old) == 0 {
		g.old = nil
	}
}
