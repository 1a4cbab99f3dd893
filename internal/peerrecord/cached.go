package peerrecord

import (
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

	envelope string
	usable   []ma.Multiaddr
	within   [loopbackScope + 1]uint8 // how many of usable make sense within each reach
	memory   int32                    // bytes that it takes in a share, about
}

func newCachedRecord(r *Record, seed maphash.Seed) *CachedRecord {
	const perRecord = 200
	c := &CachedRecord{ID: r.ID, Seq: r.Seq, IDHash: maphash.String(seed, string(r.ID)), envelope: string(r.Envelope)}
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
