package rendezvous

// Drawing a uniform random sample from what is live, at a cost that depends on
// the size of the sample and not on how much there is to draw from.

import "math/rand/v2"

// pool is a set of registrations in no particular order. Each registration is in
// two: its namespace's, and the one of all namespaces. It remembers its position
// in either, so leaving a pool is moving the last one into its place.
type pool struct {
	slots []slot
	kind  poolKind
}

// slot repeats the deadline so that passing over the expired ones reads
// memory in order instead of chasing a pointer each.
type slot struct {
	deadline int64
	reg      *registration
}

// poolKind says which of its positions a registration has in a pool.
type poolKind int

const (
	ofNamespace poolKind = iota
	ofAll
	poolKinds
)

func (p *pool) add(r *registration) {
	r.pos[p.kind] = int32(len(p.slots))
	p.slots = append(p.slots, slot{r.deadline, r})
}

// holds reports whether r is here. Sampling drops a registration that it finds
// expired without telling it, so its position proves nothing until checked.
func (p *pool) holds(r *registration) bool {
	i := int(r.pos[p.kind])
	return i < len(p.slots) && p.slots[i].reg == r
}

// reschedule notes r's new deadline.
func (p *pool) reschedule(r *registration) {
	p.slots[r.pos[p.kind]].deadline = r.deadline
}

// remove takes r out, if it is here.
func (p *pool) remove(r *registration) {
	if p.holds(r) {
		p.drop(int(r.pos[p.kind]))
		p.shrink()
	}
}

// drop empties slot i by moving the last one into it.
func (p *pool) drop(i int) {
	last := len(p.slots) - 1
	if i != last {
		p.set(i, p.slots[last])
	}
	p.slots[last] = slot{}
	p.slots = p.slots[:last]
}

func (p *pool) set(i int, s slot) {
	p.slots[i] = s
	s.reg.pos[p.kind] = int32(i)
}

// shrink gives memory back once three quarters of it are unused.
func (p *pool) shrink() {
	if cap(p.slots) > 8 && len(p.slots) < cap(p.slots)/4 {
		p.slots = append(make([]slot, 0, cap(p.slots)/2), p.slots...)
	}
}

// sample moves up to n registrations that are live at now, drawn uniformly, to
// the front of the pool and returns their slots, which are valid until the pool
// changes. It is the beginning of a Fisher-Yates shuffle, in place, since the
// order means nothing: no scan, no set of what was drawn, no allocation. Expired
// ones that it draws are dropped; no registration is dropped twice, so in the long
// run they cost each Add a constant.
func (p *pool) sample(n int, now int64) []slot {
	patience := 64 + 8*min(n, len(p.slots)) // past it, nine in ten are expired
	drawn := 0
	for drawn < min(n, len(p.slots)) {
		i := drawn + rand.IntN(len(p.slots)-drawn)
		s := p.slots[i]
		if s.deadline > now {
			p.set(i, p.slots[drawn])
			p.set(drawn, s)
			drawn++
			continue
		}
		p.drop(i)
		if patience--; patience == 0 {
			p.sweep(now) // keeps the order, so what was drawn stays in front
		}
	}
	p.shrink()
	return p.slots[:drawn]
}

// sweep drops all that are expired at now in one sequential pass.
func (p *pool) sweep(now int64) {
	kept := 0
	for i, s := range p.slots {
		if s.deadline <= now {
			continue
		}
		if i != kept {
			p.set(kept, s)
		}
		kept++
	}
	clear(p.slots[kept:])
	p.slots = p.slots[:kept]
}
