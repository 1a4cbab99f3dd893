package rendezvous

// Signed records that were verified once and need not be again.

import (
	"bytes"
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
)

// What is remembered of each point's answers, and of how many points: 8 MiB of
// envelopes at the most, and about as much again for what was read from them.
const (
	maxShares       = 16
	maxShareEntries = 2 * MaxDiscoverLimit
	maxShareSize    = 512 << 10 // bytes of envelopes
)

// verified remembers records that were verified, by their bytes. Peers register the
// same bytes again and again, and points hand them out as often, so nearly all of
// what a client is given it has verified before: BenchmarkAccept has the difference.
//
// Each point has a share of its own, of bounded size, so that a hostile one that
// sends ever new records pushes out nothing but its own.
type verified struct {
	seed  maphash.Seed
	since time.Time // which times are counted from: a wall clock may jump

	mu     sync.Mutex
	shares map[peer.ID]*share
}

// share is what one point has sent lately.
type share struct {
	used    time.Time
	size    int                      // bytes of envelopes
	entries map[uint64]*list.Element // by the hash of the envelope
	recent  list.List                // of *opened, the last used first
}

// opened is a signed record that holds. Whoever has one must not write to it.
type opened struct {
	hash     uint64
	envelope []byte
	signed   *record.Envelope
	record   *peer.PeerRecord
	kept     atomic.Int64 // until when the address book keeps it, as verified counts
}

// slack is how much earlier than its registration ends the address book may forget
// a record: a TTL in whole seconds says no better when that is.
const slack = time.Second

// keep puts the record into an address book, unless it is there for about as long
// already. To be asked again between two refreshes of a registration is the rule,
// and the book is what costs most of it then (library, DISCOVER 50 of 1,000).
func (o *opened) keep(book peerstore.CertifiedAddrBook, now, ttl time.Duration) error {
	until := int64(now + ttl)
	if until-o.kept.Load() < int64(slack) {
		return nil
	}
	if _, err := book.ConsumePeerRecord(o.signed, ttl); err != nil {
		return err
	}
	o.kept.Store(until)
	return nil
}

func newVerified() *verified {
	return &verified{seed: maphash.MakeSeed(), since: time.Now(), shares: make(map[peer.ID]*share)}
}

// now is the time as verified counts.
func (v *verified) now() time.Duration { return time.Since(v.since) }

// open is openRecord for what a point sent, which it does at most once for the same
// bytes as long as they are remembered. It reports whether it had done so before.
func (v *verified) open(point peer.ID, envelope []byte) (o *opened, cached bool, err error) {
	hash := maphash.Bytes(v.seed, envelope)
	if known := v.find(point, hash, envelope); known != nil {
		return known, true, nil
	}
	signed, rec, err := openRecord(envelope)
	if err != nil {
		return nil, false, err
	}
	o = &opened{hash: hash, envelope: bytes.Clone(envelope), signed: signed, record: rec}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.share(point).add(o)
	return o, false, nil
}

// find looks in all shares, and puts what it finds into the point's own: that share
// then keeps it, whatever becomes of the others.
func (v *verified) find(point peer.ID, hash uint64, envelope []byte) *opened {
	v.mu.Lock()
	defer v.mu.Unlock()
	own := v.share(point)
	if o := own.find(hash, envelope); o != nil {
		return o
	}
	for _, s := range v.shares {
		if o := s.find(hash, envelope); o != nil {
			own.add(o)
			return o
		}
	}
	return nil
}

// share returns a point's share, in place of the one that was not used for longest
// where there are too many.
func (v *verified) share(point peer.ID) *share {
	s := v.shares[point]
	if s == nil {
		if len(v.shares) == maxShares {
			v.forgetOldest()
		}
		s = &share{entries: make(map[uint64]*list.Element)}
		v.shares[point] = s
	}
	s.used = time.Now()
	return s
}

func (v *verified) forgetOldest() {
	var oldest peer.ID
	for id, s := range v.shares {
		if oldest == "" || s.used.Before(v.shares[oldest].used) {
			oldest = id
		}
	}
	delete(v.shares, oldest)
}

func (s *share) find(hash uint64, envelope []byte) *opened {
	e := s.entries[hash]
	if e == nil || !bytes.Equal(recordOf(e).envelope, envelope) {
		return nil
	}
	s.recent.MoveToFront(e)
	return recordOf(e)
}

func (s *share) add(o *opened) {
	if e := s.entries[o.hash]; e != nil {
		s.remove(e)
	}
	s.entries[o.hash] = s.recent.PushFront(o)
	s.size += len(o.envelope)
	for len(s.entries) > maxShareEntries || s.size > maxShareSize {
		s.remove(s.recent.Back())
	}
}

func (s *share) remove(e *list.Element) {
	o := recordOf(e)
	s.recent.Remove(e)
	delete(s.entries, o.hash)
	s.size -= len(o.envelope)
}

// recordOf returns what an element of recent holds.
func recordOf(e *list.Element) *opened {
	o, _ := e.Value.(*opened) // add puts nothing else there
	return o
}
