package peerrecord

import (
	"hash/maphash"
	"slices"

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
	const perRecord, perAddr = 200, 24
	c := &CachedRecord{ID: r.ID, Seq: r.Seq, IDHash: maphash.String(seed, string(r.ID)), envelope: string(r.Envelope)}
	c.usable, c.within = usableAddrs(r.ID, r.Addrs)
	c.memory = int32(perRecord + len(r.ID) + len(c.envelope) + perAddr*len(c.usable) + compact(c.usable))
	return c
}

// Usable returns the addresses of the record that make sense within reach: at most 16,
// the most widely reachable first. Addresses that nobody can dial are left out. The
// caller must not modify the slice.
func (r *CachedRecord) Usable(reach Reach) []ma.Multiaddr {
	n := r.within[reach]
	return r.usable[:n:n]
}

// compact moves the components of addresses into one array, and lets those that are equal
// and at the same place of their addresses share their bytes. It returns about how much memory
// they take then, in bytes.
func compact(addrs []ma.Multiaddr) (memory int) {
	const perComponent, perValue = 32, 6
	n := 0
	for _, a := range addrs {
		n += len(a)
	}
	all := make([]ma.Component, 0, n)
	for i, a := range addrs {
		begin := len(all)
		for place, c := range a {
			same := slices.IndexFunc(addrs[:i], func(b ma.Multiaddr) bool { return place < len(b) && b[place].Equal(&c) })
			if same >= 0 {
				c = addrs[same][place]
			} else {
				memory += perValue + len(c.Bytes())
			}
			all = append(all, c)
		}
		addrs[i] = all[begin:len(all):len(all)]
	}
	return memory + perComponent*n
}
