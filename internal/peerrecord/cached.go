package peerrecord

import (
	"crypto/sha256"
	"hash/maphash"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// CachedRecord is what a [Cache] keeps of a verified signed peer record. It is never
// modified.
type CachedRecord struct {
	ID     peer.ID
	Seq    uint64
	IDHash uint64 // with the seed of the cache

	envelope string // or, if it is longer than maxKept, its SHA-256
	usable   []ma.Multiaddr
	within   [loopbackScope + 1]uint8 // how many of usable make sense within each reach
	memory   int32                    // bytes that it takes in a share, about
}

// maxKept is the size in bytes up to which an envelope is kept as it is. Hundreds of peers with
// longer ones could fill a share.
const maxKept = 512

// kept returns what tells an envelope from others. No valid envelope is as short as a hash.
func kept(envelope []byte) string {
	if len(envelope) <= maxKept {
		return string(envelope)
	}
	sum := sha256.Sum256(envelope)
	return string(sum[:])
}

// isOf reports whether r is the record in an envelope.
func (r *CachedRecord) isOf(envelope []byte) bool {
	if len(envelope) <= maxKept {
		return r.envelope == string(envelope)
	}
	return r.envelope == kept(envelope)
}

func newCachedRecord(r *Record, seed maphash.Seed) *CachedRecord {
	const perRecord = 200
	c := &CachedRecord{ID: r.ID, Seq: r.Seq, IDHash: maphash.String(seed, string(r.ID)), envelope: kept(r.Envelope)}
	usable, within, memory := usableAddrs(r.ID, r.Addrs)
	c.usable, c.within = compact(usable), within
	c.memory = int32(perRecord + len(r.ID) + len(c.envelope) + memory)
	return c
}

// Usable returns the addresses of the record that make sense within reach: at most 16,
// the most widely reachable first. Addresses that nobody can dial, or that take too much
// memory, are left out. The caller must not modify the slice.
func (r *CachedRecord) Usable(reach Reach) []ma.Multiaddr {
	n := r.within[reach]
	return r.usable[:n:n]
}
