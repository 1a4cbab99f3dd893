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

// slot has all that an answer says of a registration, so that drawing reads one
// cache line for each and chases no pointer but the envelope's; see DISCOVER 1000 of
// 100,000 in docs/performance.md.
type slot struct {
	deadline int64
	envelope envelope
	reg      *registration
}

// poolKind says which of its positions a registration has in a pool.
type poolKind int

const (
	ofNamespace poolKind = iota
	ofAll
	poolKinds
)

func (p *pool) add(r *registration, e envelope) {
	const few = 16 // most namespaces have fewer, and room for more would be most of their memory
	if n := len(p.slots); n == cap(p.slots) && n < few {
		p.slots = append(make([]slot, 0, n+2), p.slots...)
	}
	r.pos[p.kind] = int32(len(p.slots))
	p.slots = append(p.slots, slot{r.deadline, e, r})
}

// holds reports whether r is here. Sampling drops a registration that it finds
// expired without telling it, so its position proves nothing until checked.
func (p *pool) holds(r *registration) bool {
	i := int(r.pos[p.kind])
	return i < len(p.slots) && p.slots[i].reg == r
}

// renew notes r's new deadline and envelope.
func (p *pool) renew(r *registration, e envelope) {
	p.slots[r.pos[p.kind]] = slot{r.deadline, e, r}
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

// sample appends to dst up to n registrations that are live at now, drawn uniformly,
// in random order.
func (p *pool) sample(dst []slot, n int, now int64) []slot {
	for n > 0 {
		if n > len(p.slots)/2 {
			return p.shuffle(dst, n, now)
		}
		if drawn, ok := p.pick(dst, n, now); ok {
			return drawn
		}
		p.sweep(now)
	}
	return dst
}

// pick draws from many more slots than it is to draw: those that it has drawn
// already, or that are expired, it draws again. Beside the slots themselves it
// touches no memory, and loads them independently of each other, which is what
// a draw from a million takes its time for; see "Sample(50)" of bench-storage. It
// gives up where nine in ten are expired.
func (p *pool) pick(dst []slot, n int, now int64) ([]slot, bool) {
	const taken = -1 << 63 // a deadline's sign marks what is drawn

	drawn := dst
	patience := 64 + 8*n
	for len(drawn) < len(dst)+n && patience > 0 {
		have := len(drawn)
		for range n - (have - len(dst)) {
			drawn = append(drawn, slot{deadline: rand.Int64N(int64(len(p.slots)))}) // where to look
		}
		p.touch(drawn[have:])
		kept := have
		for _, at := range drawn[have:] {
			s := &p.slots[at.deadline]
			switch {
			case s.deadline > now:
				drawn[kept] = slot{at.deadline, s.envelope, s.reg}
				kept++
				s.deadline |= taken
			case s.deadline > 0:
				patience--
			}
		}
		drawn = drawn[:kept]
	}
	for i := range drawn[len(dst):] {
		d := &drawn[len(dst)+i]
		s := &p.slots[d.deadline]
		s.deadline &^= taken
		d.deadline = s.deadline
	}
	return drawn, patience > 0
}

// touch reads from each slot that is to be looked at, and does so little else that
// the processor has them all on their way from memory at the same time.
//
//go:noinline
func (p *pool) touch(where []slot) (all int64) {
	for i := range where {
		all ^= p.slots[where[i].deadline].deadline
	}
	return all
}

// shuffle is the beginning of a Fisher-Yates shuffle, in place, since the order
// means nothing. It draws as many as it can get of those that it does not find
// expired; these it drops.
func (p *pool) shuffle(dst []slot, n int, now int64) []slot {
	drawn := 0
	for drawn < min(n, len(p.slots)) {
		i := drawn + rand.IntN(len(p.slots)-drawn)
		s := p.slots[i]
		if s.deadline <= now {
			p.drop(i)
			continue
		}
		p.set(i, p.slots[drawn])
		p.set(drawn, s)
		drawn++
	}
	dst = append(dst, p.slots[:drawn]...)
	p.shrink()
	return dst
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
	if kept < cap(p.slots)/4 { // most often: it is for where few are live
		p.slots = append(make([]slot, 0, 2*kept), p.slots[:kept]...)
		return
	}
	clear(p.slots[kept:])
	p.slots = p.slots[:kept]
}
