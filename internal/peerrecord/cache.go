package peerrecord

import (
	"bytes"
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What a cache remembers. A share has room for an answer of 1000 records with ten addresses
// each, and all shares together take at most 48 MiB.
const (
	maxShares       = 16
	maxShareRecords = 2000
	maxShareMemory  = 3 << 20 // bytes
)

// Cache opens records and remembers the valid ones, so that it verifies the same bytes
// only once.
//
// Each source has a share of bounded size. A hostile source that sends ever new records
// displaces what is in its own share, and nothing else. There are at most 16 shares; a new
// source takes that of the source which has not been used for the longest time.
//
// All methods may be called at the same time.
type Cache struct {
	seed maphash.Seed

	mu     sync.Mutex
	shares *simplelru.LRU[peer.ID, *share] // by source
}

// share is what a source sent, the most recently used records of it.
type share struct {
	records *simplelru.LRU[uint64, *Record] // by the hash of the envelope
	memory  int                             // bytes
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{seed: maphash.MakeSeed(), shares: newLRU[peer.ID, *share](maxShares, nil)}
}

// newLRU returns an LRU for size entries, which is more than 0.
func newLRU[K comparable, V any](size int, evicted func(K, V)) *simplelru.LRU[K, V] {
	lru, _ := simplelru.NewLRU(size, evicted) // the only error is that of a size of 0
	return lru
}

// Open is like the function [Open], for a record of any kind and any peer that a source
// sent. It does
// not verify bytes again that any source sent lately, and then returns that the record was
// cached. The caller may reuse envelope: the record has a copy.
func (c *Cache) Open(source peer.ID, envelope []byte) (r *Record, cached bool, err error) {
	if err := checkSize(envelope); err != nil {
		return nil, false, err
	}
	hash := maphash.Bytes(c.seed, envelope)
	if r := c.find(source, hash); r != nil && bytes.Equal(r.Envelope, envelope) {
		return r, true, nil
	}
	r, err = OpenPaid(envelope, "", KindOf(envelope), nil)
	if err != nil {
		return nil, false, err
	}
	r.usable = usableAddrs(r.ID, r.Addrs)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share(source).add(hash, r)
	return r, false, nil
}

// find returns the record with that hash, or nil. Another record may have the same hash
// by chance. A record from the share of another source is then in the share of this one as
// well, where only this source can displace it.
func (c *Cache) find(source peer.ID, hash uint64) *Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	ofSource := c.share(source)
	if r, found := ofSource.records.Get(hash); found {
		return r
	}
	for _, s := range c.shares.Values() {
		if r, found := s.records.Peek(hash); found {
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
		s = newShare()
		c.shares.Add(source, s)
	}
	return s
}

func newShare() *share {
	s := new(share)
	s.records = newLRU(maxShareRecords, func(_ uint64, r *Record) { s.memory -= memoryOf(r) })
	return s
}

// add puts a record into the share, in place of one with the same hash.
func (s *share) add(hash uint64, r *Record) {
	s.records.Remove(hash)
	s.records.Add(hash, r)
	s.memory += memoryOf(r)
	for s.memory > maxShareMemory {
		s.records.RemoveOldest()
	}
}

// memoryOf returns about how many bytes of memory a record takes in a share. Addresses
// take far more than on the wire: one of two bytes takes 64. Their values are counted as
// if they were the whole envelope.
func memoryOf(r *Record) int {
	const perRecord, perAddr, perComponent, perValue = 200, 24, 32, 8
	n := perRecord + 2*len(r.Envelope) + perAddr*cap(r.Addrs)
	for _, a := range r.Addrs {
		n += perComponent*cap(a) + perValue*len(a)
	}
	return n
}
