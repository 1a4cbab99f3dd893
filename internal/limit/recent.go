package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxRecent bounds the memory of each generation of a [Recent] to about 6 MiB.
const maxRecent = 1 << 16

// Recent remembers what was registered lately, for storages that cannot say it. It is a
// two-generation cache: an entry that is registered again moves to the young generation.
// Methods may be called by many goroutines at the same time.
type Recent struct {
	mu         sync.Mutex
	young, old map[entry]time.Time // until when it is live; no entry is in both
}

// entry is the hash of a peer, an envelope and a namespace. The hash is a strong one,
// because whoever is found in here has its signature not checked.
type entry [sha256.Size]byte

// NewRecent returns an empty cache.
func NewRecent() *Recent {
	return &Recent{young: make(map[entry]time.Time)}
}

// Add remembers that a peer has registered an envelope in a namespace until a deadline.
func (r *Recent) Add(namespace string, p peer.ID, envelope []byte, deadline time.Time) {
	verified, registered := entriesOf(namespace, p, envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.deadline(verified); last.After(deadline) {
		r.add(verified, last)
	} else {
		r.add(verified, deadline)
	}
	r.add(registered, deadline)
}

// add adds an entry. r.mu is held.
func (r *Recent) add(e entry, deadline time.Time) {
	if len(r.young) >= maxRecent {
		r.old, r.young = r.young, make(map[entry]time.Time)
	}
	delete(r.old, e)
	r.young[e] = deadline
}

// Lookup reports whether the peer has registered the envelope anywhere, so that its
// signature was checked, and how long it is still live in the namespace, at most 0 if it
// is not.
func (r *Recent) Lookup(namespace string, p peer.ID, envelope []byte, now time.Time) (verified bool, left time.Duration) {
	v, l := entriesOf(namespace, p, envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deadline(v).After(now), r.deadline(l).Sub(now)
}

// deadline returns until when an entry is live. r.mu is held.
func (r *Recent) deadline(e entry) time.Time {
	if deadline, ok := r.young[e]; ok {
		return deadline
	}
	return r.old[e]
}

// Sweep forgets what is no longer live.
func (r *Recent) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := make(map[entry]time.Time)
	for e, deadline := range r.young {
		if deadline.After(now) {
			live[e] = deadline
		}
	}
	r.young = live
	for _, deadline := range r.old {
		if deadline.After(now) {
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
