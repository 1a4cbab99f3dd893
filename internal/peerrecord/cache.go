package peerrecord

import (
	"bytes"
	"hash/maphash"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of a cache: 8 MiB of envelopes at most, and about as much for what was read from
// them.
const (
	maxSources = 16
	maxRecords = 2000      // of one source
	maxBytes   = 512 << 10 // of the envelopes of one source
)

// Cache opens envelopes and remembers the valid ones by their bytes. Each source of
// envelopes, such as a rendezvous point, has a bounded share of the cache, so a hostile
// source that sends ever new records evicts nothing but its own. Cache is safe for
// concurrent use.
type Cache struct {
	seed maphash.Seed

	mu     sync.Mutex
	shares map[peer.ID]*share
}

// share is a two-generation cache of the records of one source. A record that is used
// moves to the young generation. When that is full it becomes the old one, and the old
// one is forgotten.
type share struct {
	used       time.Time
	young, old generation
}

type generation struct {
	records map[uint64]*Record // by the hash of the envelope
	bytes   int                // of envelopes
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{seed: maphash.MakeSeed(), shares: make(map[peer.ID]*share)}
}

// Open is [Open] for an envelope of any owner that came from source. It reports whether
// the same bytes had been opened before, whatever source they came from.
func (c *Cache) Open(source peer.ID, envelope []byte) (r *Record, cached bool, err error) {
	hash := maphash.Bytes(c.seed, envelope)
	if r := c.find(source, hash); r != nil && bytes.Equal(r.Envelope, envelope) {
		return r, true, nil
	}
	r, err = Open(envelope, "")
	if err != nil {
		return nil, false, err
	}
	r.usable = usableAddrs(r.Addrs)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share(source).add(hash, r)
	return r, false, nil
}

// find returns the record with the hash of an envelope, from any share, and adds it to the
// young generation of the source's own share. Another envelope may have the same hash.
func (c *Cache) find(source peer.ID, hash uint64) *Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.share(source)
	if r := own.young.records[hash]; r != nil {
		return r
	}
	r := own.old.records[hash]
	for _, s := range c.shares {
		if r == nil {
			r = s.find(hash)
		}
	}
	if r != nil {
		own.add(hash, r)
	}
	return r
}

// share returns the share of a source. A new one replaces the share that was not used for
// the longest time, if there are too many. c.mu is held.
func (c *Cache) share(source peer.ID) *share {
	s := c.shares[source]
	if s == nil {
		if len(c.shares) == maxSources {
			delete(c.shares, c.leastRecent())
		}
		s = &share{young: generation{records: make(map[uint64]*Record)}}
		c.shares[source] = s
	}
	s.used = time.Now()
	return s
}

func (c *Cache) leastRecent() (source peer.ID) {
	var used time.Time
	for id, s := range c.shares {
		if used.IsZero() || s.used.Before(used) {
			source, used = id, s.used
		}
	}
	return source
}

func (s *share) find(hash uint64) *Record {
	if r := s.young.records[hash]; r != nil {
		return r
	}
	return s.old.records[hash]
}

func (s *share) add(hash uint64, r *Record) {
	if len(s.young.records) == maxRecords/2 || s.young.bytes+len(r.Envelope) > maxBytes/2 {
		s.old, s.young = s.young, generation{records: make(map[uint64]*Record)}
	}
	if before := s.young.records[hash]; before != nil {
		s.young.bytes -= len(before.Envelope)
	}
	s.young.records[hash] = r
	s.young.bytes += len(r.Envelope)
}
