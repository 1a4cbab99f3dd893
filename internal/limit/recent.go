package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxRecent bounds the memory of each generation of a [Recent] to about 9 MiB.
const maxRecent = 1 << 16

// Recent remembers recent registrations, for storages that cannot look them up. It is a
// two-generation cache: an entry that is registered again moves to the young generation.
// Methods may be called by many goroutines at the same time.
type Recent struct {
	mu         sync.Mutex
	young, old map[entry]life // no entry is in both
}

// life is when an entry is live.
type life struct{ since, until time.Time }

// entry is the hash of a peer, an envelope and a namespace. The hash is
// cryptographic, because the signature of an envelope that is found here is not
// checked again.
type entry [sha256.Size]byte

// NewRecent returns an empty cache.
func NewRecent() *Recent {
	return &Recent{young: make(map[entry]life)}
}

// Add remembers that a peer has registered an envelope in a namespace at a time, until a
// deadline.
func (r *Recent) Add(namespace string, p peer.ID, envelope []byte, deadline, at time.Time) {
	verified, registered := entriesOf(namespace, p, envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	until := deadline
	if last := r.get(verified).until; last.After(until) {
		until = last
	}
	r.add(verified, life{at, until})
	r.add(registered, life{at, deadline})
}

// add adds an entry. r.mu is held.
func (r *Recent) add(e entry, l life) {
	if len(r.young) >= maxRecent {
		r.old, r.young = r.young, make(map[entry]life)
	}
	delete(r.old, e)
	r.young[e] = l
}

// Lookup reports whether the peer has registered the envelope anywhere, so that its
// signature was checked. left is how long the registration in the namespace still
// lives, and at most 0 if there is none. age is how long ago it was made.
func (r *Recent) Lookup(namespace string, p peer.ID, envelope []byte, now time.Time) (verified bool, left, age time.Duration) {
	v, l := entriesOf(namespace, p, envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	registered := r.get(l)
	return r.get(v).until.After(now), registered.until.Sub(now), now.Sub(registered.since)
}

// get returns when an entry is live. r.mu is held.
func (r *Recent) get(e entry) life {
	if l, ok := r.young[e]; ok {
		return l
	}
	return r.old[e]
}

// Sweep forgets what is no longer live.
func (r *Recent) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := make(map[entry]life)
	for e, l := range r.young {
		if l.until.After(now) {
			live[e] = l
		}
	}
	r.young = live
	for _, l := range r.old {
		if l.until.After(now) {
			return
		}
	}
	r.old = nil
}

// entriesOf returns the entries of a verified envelope and of a registration.
func entriesOf(namespace string, p peer.ID, envelope []byte) (verified, registered entry) {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, uint32(len(p)))
	h.Write([]byte(p))
	h.Write(envelope)
	h.Sum(verified[:0])
	h = sha256.New()
	h.Write(verified[:])
	h.Write([]byte(namespace))
	h.Sum(registered[:0])
	return verified, registered
}
