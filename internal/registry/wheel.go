package registry

import "math"

const (
	// tickBits makes a tick 2^26 ns, which is 67 ms.
	tickBits = 26
	// wheelTicks makes a turn 34 s.
	wheelTicks = 512
)

// wheel is a hashed timing wheel: a list of registrations for each tick. None is in a later tick than that of
// its deadline. One that ends later, because it was refreshed or because it ends more
// than a turn ahead, moves on when its tick is over. So a refresh, which is what happens
// to most registrations all the time, does not touch the wheel.
type wheel struct {
	buckets [wheelTicks]bucket
	tick    int64 // the first that may have registrations
}

// bucket is a ring of registrations.
type bucket struct {
	head Registration // no registration: the ring begins and ends here
	// earliest is no later than the deadline of any registration here.
	earliest int64
}

func (b *bucket) empty() bool { return b.head.next == nil || b.head.next == &b.head }

// add adds r, which is in no bucket.
func (w *wheel) add(r *Registration) {
	tick := min(max(r.deadline>>tickBits, w.tick), w.tick+wheelTicks-1)
	b := &w.buckets[tick%wheelTicks]
	head := &b.head
	if head.next == nil {
		head.next, head.prev = head, head
	}
	if b.empty() || r.deadline < b.earliest {
		b.earliest = r.deadline
	}
	r.prev, r.next = head, head.next
	head.next.prev = r
	head.next = r
}

// remove removes r.
func (w *wheel) remove(r *Registration) {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next = nil, nil
}

// poll looks at one of the registrations whose ticks are over at now, and reports
// whether there was one. It returns it if it has expired; the caller must remove it
// before the next poll. It returns nil if it is live; it has moved on then.
func (w *wheel) poll(now int64) (expired *Registration, ok bool) {
	current := now >> tickBits
	w.tick = max(w.tick, current-wheelTicks+1) // one turn visits every bucket
	for ; w.tick < current; w.tick++ {
		b := &w.buckets[w.tick%wheelTicks]
		if b.empty() {
			continue
		}
		r := b.head.next
		if r.deadline <= now {
			return r, true
		}
		w.remove(r)
		w.add(r)
		return nil, true
	}
	return nil, false
}

// pollCurrent returns a registration that has expired within the tick that is not over yet,
// or nil. No registration may be left to poll.
//
// It searches the bucket only once for each deadline that has passed: a full point asks with every
// registration that it refuses.
func (w *wheel) pollCurrent(now int64) *Registration {
	b := &w.buckets[w.tick%wheelTicks]
	if b.empty() || now < b.earliest {
		return nil
	}
	earliest := int64(math.MaxInt64)
	for r := b.head.next; r != &b.head; r = r.next {
		if r.deadline <= now {
			return r // there may be more: earliest stays
		}
		earliest = min(earliest, r.deadline)
	}
	b.earliest = earliest
	return nil
}
