package peerrecord

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What a cache remembers. A share has room for an answer of 1000 records that take as much memory
// as they may. Otherwise a few hundred peers with such records could displace those of all others
// at a point. 1000 usual records take 1.3 MiB.
const (
	maxShares       = 16
	maxShareRecords = 2000
	maxShareMemory  = 19 << 18 // bytes
	maxMemory       = 44 << 20 // bytes of all shares
)

// Cache opens records and remembers the valid ones, so that it verifies the same bytes
// only once.
//
// Each source has a share of bounded size. A hostile source that keeps sending new records
// displaces only what is in its own share. There are at most 16 shares, and fewer if they are
// large; a new source takes that of the source which has not been used for the longest time.
//
// All methods may be called at the same time.
type Cache struct {
	// Pay, unless it is nil, is called right before the signature of a record from a source is
	// checked, with the key of the record and the size of the envelope. If it returns an error,
	// the signature is not checked, and Open returns the error unchanged. It is set before the
	// first call of Open.
	Pay func(source peer.ID, key crypto.PubKey, size int) error

	seed maphash.Seed

	mu     sync.Mutex
	shares *simplelru.LRU[peer.ID, *share] // by source
}

// share is what a source sent, as far as it is remembered. If it is full, records get a
// second chance: the oldest is forgotten, unless it was found since it was added or last
// passed over. A list in the order of use would be exact, but its entries are all over the
// memory, and the processor waits for each: to accept an answer of 50 records would take a
// sixth longer (BenchmarkAccept, "of many").
type share struct {
	records map[uint64]entry // by the hash of the envelope
	queue   []uint64         // the hashes of all records, the oldest first
	memory  int              // bytes
}

// entry is a record in a share.
type entry struct {
	*CachedRecord
	found bool // since it went to the end of the queue
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	shares, _ := simplelru.NewLRU[peer.ID, *share](maxShares, nil) // the only error is that of a size of 0
	return &Cache{seed: maphash.MakeSeed(), shares: shares}
}

// Open is like the function [Open], for a record of any kind and any peer that a source
// sent. If any source sent the same bytes lately, it does not verify them again and
// returns true for cached. The caller may reuse envelope: the record has a copy.
func (c *Cache) Open(source peer.ID, envelope []byte) (r *CachedRecord, cached bool, err error) {
	if err := checkSize(envelope); err != nil {
		return nil, false, err
	}
	if r := c.Find(nil, source, [][]byte{envelope})[0]; r != nil {
		return r, true, nil
	}
	opened, err := OpenPaid(envelope, "", KindOf(envelope), c.payer(source, len(envelope)))
	if err != nil {
		return nil, false, err
	}
	r = newCachedRecord(opened, c.seed)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share(source).add(maphash.Bytes(c.seed, envelope), r)
	for c.memory() > maxMemory {
		c.shares.RemoveOldest() // not this source's, which was just used
	}
	return r, false, nil
}

// memory returns how many bytes all shares take. Those that have the same record count it
// twice.
func (c *Cache) memory() (memory int) {
	for _, s := range c.shares.Values() {
		memory += s.memory
	}
	return memory
}

// payer returns the function that pays for an envelope of size bytes of a source.
func (c *Cache) payer(source peer.ID, size int) func(crypto.PubKey) error {
	if c.Pay == nil {
		return nil
	}
	return func(key crypto.PubKey) error { return c.Pay(source, key, size) }
}

// Find appends the records that the cache has of some envelopes that a source sent, and nil
// in the place of each of the others. It verifies nothing.
func (c *Cache) Find(found []*CachedRecord, source peer.ID, envelopes [][]byte) []*CachedRecord {
	first := len(found)
	found = c.lookUp(found, source, envelopes)
	for i, e := range envelopes {
		if r := found[first+i]; r != nil && !r.isOf(e) {
			found[first+i] = nil // it has the same hash by chance
		}
	}
	return found
}

// lookUp appends the records that have the hashes of some envelopes, or nil. A record from
// the share of another source is then in the share of this one as well, where only this
// source can displace it.
func (c *Cache) lookUp(found []*CachedRecord, source peer.ID, envelopes [][]byte) []*CachedRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	ofSource := c.share(source)
	for _, e := range envelopes {
		hash := maphash.Bytes(c.seed, e)
		r := ofSource.find(hash)
		if r == nil {
			r = c.findElsewhere(ofSource, hash)
		}
		found = append(found, r)
	}
	return found
}

func (c *Cache) findElsewhere(ofSource *share, hash uint64) *CachedRecord {
	for _, s := range c.shares.Values() {
		if r := s.records[hash].CachedRecord; r != nil {
			ofSource.add(hash, r)
			return r
		}
	}
	return nil
}

// share returns the share of a source, which is empty if the source is new.
func (c *Cache) share(source peer.ID) *share {
	s, found := c.shares.Get(source)
	if !found {
		s = &share{records: make(map[uint64]entry)}
		c.shares.Add(source, s)
	}
	return s
}

// find returns the record with that hash, or nil.
func (s *share) find(hash uint64) *CachedRecord {
	r := s.records[hash]
	if r.CachedRecord != nil && !r.found {
		s.records[hash] = entry{r.CachedRecord, true}
	}
	return r.CachedRecord
}

// add puts a record into the share, in place of one with the same hash.
func (s *share) add(hash uint64, r *CachedRecord) {
	if before := s.records[hash]; before.CachedRecord != nil {
		s.memory -= int(before.memory)
	} else {
		s.queue = append(s.queue, hash)
	}
	s.records[hash] = entry{CachedRecord: r}
	s.memory += int(r.memory)
	for len(s.records) > maxShareRecords || s.memory > maxShareMemory {
		s.passOldest()
	}
}

// passOldest forgets the oldest record, or moves it to the end of the queue if it was found.
func (s *share) passOldest() {
	hash := s.queue[0]
	s.queue = s.queue[1:]
	r := s.records[hash]
	if r.found {
		s.records[hash] = entry{CachedRecord: r.CachedRecord}
		s.queue = append(s.queue, hash)
		return
	}
	delete(s.records, hash)
	s.memory -= int(r.memory)
}
