package rendezvous

// Signed records that were verified once and need not be again.

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
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

// share is what one point has sent lately, in two halves: what was used since the
// young one was begun is in it, and the old one is forgotten when the young one is
// full. That touches nothing but what is looked for, where a list in the order of
// use would touch its neighbours as well.
type share struct {
	used       time.Time
	young, old half
}

type half struct {
	entries map[uint64]*opened // by the hash of the envelope
	size    int                // bytes of envelopes
}

// opened is a signed record that holds. Whoever has one must not write to it.
type opened struct {
	hash     uint64 // of the envelope
	peerHash uint64 // of id
	envelope []byte
	id       peer.ID
	addrs    []ma.Multiaddr
	seq      uint64
	kept     atomic.Int64 // until when the address book keeps it, as verified counts
	signed   *record.Envelope
}

// slack is how much earlier than its registration ends the address book may forget
// a record: a TTL in whole seconds says no better when that is.
const slack = time.Second

// keep puts another's record into a host's address book, unless it is there for about
// as long already. To be asked again between two refreshes of a registration is the
// rule, and the book is what costs most of it then (library, DISCOVER 50 of 1,000).
func (o *opened) keep(h host.Host, now, ttl time.Duration) error {
	until := int64(now + ttl)
	if until-o.kept.Load() < int64(slack) || o.id == h.ID() {
		return nil
	}
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	if !ok {
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

func (v *verified) hash(b []byte) uint64 { return maphash.Bytes(v.seed, b) }

// open is openRecord for what a point sent, which it does at most once for the same
// bytes as long as they are remembered. It reports whether it had done so before.
func (v *verified) open(point peer.ID, envelope []byte) (o *opened, cached bool, err error) {
	if known := v.known(point, []claim{{envelope: envelope}})[0]; known != nil {
		return known, true, nil
	}
	signed, rec, err := openRecord(envelope)
	if err != nil {
		return nil, false, err
	}
	o = &opened{
		hash:     v.hash(envelope),
		peerHash: v.hash([]byte(rec.PeerID)),
		envelope: bytes.Clone(envelope),
		id:       rec.PeerID,
		addrs:    rec.Addrs,
		seq:      rec.Seq,
		signed:   signed,
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.share(point).add(o)
	return o, false, nil
}

// known returns what is in the envelopes that a point sent, in their order, and nil
// for each that is not remembered. Each is put into the point's own share: that
// then keeps it, whatever becomes of the others.
func (v *verified) known(point peer.ID, sent []claim) []*opened {
	found := make([]*opened, len(sent))
	hashes := make([]uint64, len(sent)) // first, for the look-ups to be under way together
	for i := range sent {
		hashes[i] = v.hash(sent[i].envelope)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	own := v.share(point)
	for i, hash := range hashes {
		found[i] = own.young.entries[hash]
	}
	for i, o := range found {
		if o == nil {
			found[i] = v.find(own, hashes[i])
		}
	}
	touch(found)
	for i := range sent {
		if o := found[i]; o != nil && !bytes.Equal(o.envelope, sent[i].envelope) {
			found[i] = nil // the hash is the same by chance
		}
	}
	return found
}

// find returns what is remembered under the hash of an envelope but is not in the young
// half of a share yet, in which it is then.
func (v *verified) find(own *share, hash uint64) *opened {
	o := own.old.entries[hash]
	for _, s := range v.shares {
		if o == nil {
			o = s.find(hash)
		}
	}
	if o != nil {
		own.add(o)
	}
	return o
}

// touch reads from what is to be compared and copied, which is all over the memory,
// and does so little else that the processor waits for all of it at the same time;
// see library, DISCOVER 50 of 1,000.
//
//go:noinline
func touch(found []*opened) (all byte) {
	const line = 64
	for _, o := range found {
		if o != nil {
			all ^= byte(o.hash) ^ byte(len(o.addrs))
		}
	}
	for _, o := range found {
		if o == nil {
			continue
		}
		all ^= byte(len(o.addrs[0]))
		for at := 0; at < len(o.envelope); at += line {
			all ^= o.envelope[at]
		}
	}
	return all
}

// share returns a point's share, in place of the one that was not used for longest
// where there are too many.
func (v *verified) share(point peer.ID) *share {
	s := v.shares[point]
	if s == nil {
		if len(v.shares) == maxShares {
			v.forgetOldest()
		}
		s = &share{young: half{entries: make(map[uint64]*opened)}}
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

// find returns what is remembered under the hash of an envelope, which may be another's.
func (s *share) find(hash uint64) *opened {
	if o := s.young.entries[hash]; o != nil {
		return o
	}
	return s.old.entries[hash]
}

func (s *share) add(o *opened) {
	if len(s.young.entries) == maxShareEntries/2 || s.young.size+len(o.envelope) > maxShareSize/2 {
		s.old, s.young = s.young, half{entries: make(map[uint64]*opened)}
	}
	if before := s.young.entries[o.hash]; before != nil {
		s.young.size -= len(before.envelope)
	}
	s.young.entries[o.hash] = o
	s.young.size += len(o.envelope)
}
