package registry

import (
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Namespace returns the name of the namespace.
func (s Slot) Namespace() string { return s.registration.namespace.name }

// Peer returns the ID of the peer.
func (s Slot) Peer() peer.ID { return s.registration.registrant.id }

// Envelope returns the envelope. Nobody may write to it.
func (s Slot) Envelope() []byte { return bytesOf(s.envelope) }

// Deadline returns until when the registration is fresh.
func (s Slot) Deadline() int64 { return s.deadline }

// add adds a slot. The array grows by a quarter, because doubling it would waste most of
// the memory of a small namespace.
func (p *pool) add(s Slot) {
	if n := len(p.slots); n == cap(p.slots) {
		p.slots = append(make([]Slot, 0, n+n/4+2), p.slots...)
	}
	s.registration.positions[p.kind] = int32(len(p.slots))
	p.slots = append(p.slots, s)
	p.size += int64(len(s.envelope))
}

// slot returns the slot of r, or nil if r is not here or was dropped.
func (p *pool) slot(r *registration) *Slot {
	if i := int(r.positions[p.kind]); i < len(p.slots) && p.slots[i].registration == r {
		return &p.slots[i]
	}
	return nil
}

// holds reports whether r is here and has not been dropped.
func (p *pool) holds(r *registration) bool { return p.slot(r) != nil }

// deadlineOf returns the deadline in the slot of r, or 0 if it is not here.
func (p *pool) deadlineOf(r *registration) int64 {
	if s := p.slot(r); s != nil {
		return s.deadline
	}
	return 0
}

// update updates the slot of r, and reports whether it is here. Callers add r if it is not: a put
// that did both would not be inlined, and every refresh makes two.
func (p *pool) update(r *registration, deadline int64, envelope string) bool {
	s := p.slot(r)
	if s == nil {
		return false
	}
	p.size += int64(len(envelope) - len(s.envelope))
	s.deadline, s.envelope = deadline, envelope
	return true
}

// remove removes r, unless it was dropped.
func (p *pool) remove(r *registration) {
	if p.holds(r) {
		p.vacate(int(r.positions[p.kind]))
		p.slots = shrink(p.slots)
	}
}

// vacate empties slot i by moving the last one into it.
func (p *pool) vacate(i int) {
	p.size -= int64(len(p.slots[i].envelope))
	last := len(p.slots) - 1
	if i != last {
		p.set(i, p.slots[last])
	}
	p.slots[last] = Slot{}
	p.slots = p.slots[:last]
}

func (p *pool) set(i int, s Slot) {
	p.slots[i] = s
	s.registration.positions[p.kind] = int32(i)
}

// sample appends to dst up to n slots that are live at now, drawn uniformly and in random
// order.
func (p *pool) sample(dst []Slot, n int, now int64) []Slot {
	for n > 0 {
		if n > len(p.slots)/2 {
			return p.shuffle(dst, n, now)
		}
		if drawn, ok := p.pick(dst, n, now); ok {
			return drawn
		}
		p.dropExpired(now)
	}
	return dst
}

// pick draws n slots, at most half of all, at random positions. It draws again if a
// slot is drawn already or expired. It reads nothing but the slots, so their cache
// misses overlap. It gives up, and reports false, if about nine in ten are expired.
func (p *pool) pick(dst []Slot, n int, now int64) ([]Slot, bool) {
	const drawn = -1 << 63 // the sign of a deadline marks slots that are drawn already

	var small [64]int32
	positions := small[:]
	if n > len(small) {
		positions = make([]int32, n)
	}
	positions = positions[:n]
	have := 0
	for misses := 64 + 8*n; have < n && misses > 0; {
		wanted := positions[have:]
		for i := range wanted {
			wanted[i] = rand.Int32N(int32(len(p.slots)))
		}
		p.prefetch(wanted)
		for _, i := range wanted {
			s := &p.slots[i]
			if s.deadline <= now { // expired or drawn
				misses--
				continue
			}
			dst = append(dst, *s)
			s.deadline |= drawn
			positions[have] = i
			have++
		}
	}
	for _, i := range positions[:have] {
		p.slots[i].deadline &^= drawn
	}
	return dst, have == n
}

// prefetch reads the slots at positions and does little else, so the processor loads them
// from memory in parallel.
//
//go:noinline
func (p *pool) prefetch(positions []int32) (all int64) {
	for _, i := range positions {
		all ^= p.slots[i].deadline
	}
	return all
}

// shuffle is the beginning of a Fisher-Yates shuffle, in place, since the order of the slots
// means nothing. It draws n slots, or all that are live if there are fewer, and drops
// the expired ones that it comes across.
func (p *pool) shuffle(dst []Slot, n int, now int64) []Slot {
	drawn := 0
	for drawn < min(n, len(p.slots)) {
		i := drawn + rand.IntN(len(p.slots)-drawn)
		s := p.slots[i]
		if s.deadline <= now {
			p.vacate(i)
			continue
		}
		p.set(i, p.slots[drawn])
		p.set(drawn, s)
		drawn++
	}
	dst = append(dst, p.slots[:drawn]...)
	p.slots = shrink(p.slots)
	return dst
}

// dropExpired drops all slots that are expired at now, in one sequential pass.
func (p *pool) dropExpired(now int64) {
	slots := p.slots
	p.slots, p.size = nil, 0
	for _, s := range slots {
		if s.deadline > now {
			p.add(s)
		}
	}
}
