package registry

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

// order keeps all registrations in the order in which they were added or last replaced.
//
// It costs about as much memory as the rest of the registry, so a registry has none until
// it is asked for a page, or has to hold a registration that is not in the pools for as
// long as it is live.
type order struct {
	identity uint64 // of the sequences: cursors of another one mean nothing here
	next     uint64 // sequence of the next registration that is put
	size     int64  // of all envelopes, in bytes
	lasting  usage
	all      map[Kind]*track
	tracks   table[trackKey, *track]
}

// usage is how much of a quota registrations take.
type usage struct {
	count int
	bytes int64
}

// Namespace returns the name of the namespace.
func (p *Place) Namespace() string { return p.track.key.namespace.name }

// Peer returns the ID of the peer.
func (p *Place) Peer() peer.ID { return p.peer }

// Envelope returns the envelope. It never changes, and nobody may write to it.
func (p *Place) Envelope() []byte { return bytesOf(p.envelope) }

// Deadline returns when the registration ends.
func (p *Place) Deadline() int64 { return p.deadline }

// size is what the registration counts against a quota of bytes.
func (p *Place) size() int64 {
	return namesSize(p.Namespace(), p.peer) + int64(len(p.envelope))
}

// tickOf returns the tick of the wheel that a time is in. Another word in each place would
// take one more cache line.
func tickOf(t int64) uint32 { return uint32(t >> tickBits) }

// age returns for how long p has been there at now, to a tick.
func (p *Place) age(now int64) int64 { return int64(tickOf(now)-p.put) << tickBits }

func newOrder(identity, next uint64) *order {
	return &order{identity: identity, next: next, all: make(map[Kind]*track)}
}

// put gives r the last place at now, or the place of e's sequence if e has one.
func (o *order) put(r *registration, envelope string, e *Entry, now int64) {
	if r.place != nil {
		o.leave(r.place)
	}
	r.place = &Place{peer: r.registrant.id, envelope: envelope, deadline: e.Deadline, put: tickOf(now), lasting: e.lasting()}
	o.enter(r.place, trackKey{r.namespace, e.Kind}, e.Sequence)
}

// remove removes r. r has no place if it had expired before the order began.
func (o *order) remove(r *registration) {
	if r.place != nil {
		o.leave(r.place)
		r.place = nil
	}
}

// enter adds a place to its tracks, at a sequence that was given out before, or at the next
// one for 0.
func (o *order) enter(p *Place, key trackKey, sequence uint64) {
	all := o.all[key.kind]
	if all == nil {
		all = &track{key: trackKey{nil, key.kind}}
		o.all[key.kind] = all
	}
	if sequence == 0 || all.has(sequence) {
		sequence = o.next
	}
	o.next = max(o.next, sequence+1)
	t := o.tracks.get(key)
	if t == nil {
		t = &track{key: key}
		o.tracks.add(key, t)
	}
	p.sequence, p.track = sequence, t
	all.places.Load(sequence, p) // as Set, but faster at the end
	t.places.Load(sequence, p)
	o.count(p, +1)
}

// leave removes a place from its tracks.
func (o *order) leave(p *Place) {
	o.count(p, -1)
	o.all[p.track.key.kind].places.Delete(p.sequence)
	p.track.places.Delete(p.sequence)
	if p.track.places.Len() == 0 {
		o.tracks.delete(p.track.key)
	}
}

// count adds a place to the sums n times; n is 1 or -1.
func (o *order) count(p *Place, n int) {
	o.size += int64(n * len(p.envelope))
	if p.lasting {
		o.lasting.count += n
		o.lasting.bytes += int64(n) * p.size()
	}
}

// track returns the track of a namespace and a kind, or of all for nil. It may be nil.
func (o *order) track(ns *namespace, kind Kind) *track {
	if ns == nil {
		return o.all[kind]
	}
	return o.tracks.get(trackKey{ns, kind})
}

// has reports whether a sequence is taken.
func (t *track) has(sequence uint64) bool {
	_, has := t.places.Get(sequence)
	return has
}

// follow appends to dst the first n places after a sequence. A nil track has none.
func (t *track) follow(dst []*Place, after uint64, n int) []*Place {
	if t == nil || n < 1 {
		return dst
	}
	t.places.Ascend(after+1, func(_ uint64, p *Place) bool {
		dst = append(dst, p)
		n--
		return n > 0
	})
	return dst
}

// prefetchPlaces reads places and does nothing else, so the processor loads them from memory
// in parallel.
//
//go:noinline
func prefetchPlaces(places []*Place) (all uint64) {
	for _, p := range places {
		all ^= p.sequence
	}
	return all
}

// cursor returns the cursor after a sequence. Cursors are printable ASCII.
func (o *order) cursor(sequence uint64) string {
	return fmt.Sprintf("%016x-%x", o.identity, sequence)
}

// parse returns the sequence of a cursor, or 0 if the cursor was not given out.
func (o *order) parse(cursor string) uint64 {
	_, digits, _ := strings.Cut(cursor, "-")
	sequence, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || sequence >= o.next || o.cursor(sequence) != cursor {
		return 0
	}
	return sequence
}
