package registry

import (
	"cmp"
	"slices"
)

const (
	// tickBits makes a tick 2^26 ns, which is 67 ms.
	tickBits = 26
	// wheelTicks makes a turn 34 s.
	wheelTicks = 512
	// inNoOrder stands for no tick.
	inNoOrder = -1
)

// wheel is a hashed timing wheel: a list of registrations for each tick. No registration
// is in a later tick than that of its deadline. One that ends later than its tick,
// because it was refreshed or ends more than a turn ahead, moves on when its tick is
// over. So a refresh, which is what happens to most registrations all the time, does not
// touch the wheel.
type wheel struct {
	buckets [wheelTicks]bucket
	tick    int64 // the first that may have registrations
	sorted  int64 // the tick whose bucket is in the order of its deadlines, or inNoOrder
}

// bucket is a ring of registrations.
type bucket struct {
	head registration // no registration: the ring begins and ends here
}

func (b *bucket) empty() bool { return b.head.next == nil || b.head.next == &b.head }

// add adds r, which is in no bucket.
func (w *wheel) add(r *registration) {
	tick := min(max(r.deadline>>tickBits, w.tick), w.tick+wheelTicks-1)
	b := &w.buckets[tick%wheelTicks]
	head := &b.head
	if head.next == nil {
		head.next, head.prev = head, head
	}
	if tick == w.sorted {
		w.sorted = inNoOrder
	}
	r.prev, r.next = head, head.next
	head.next.prev = r
	head.next = r
}

// isCurrent reports whether a time is in the tick that is not over yet.
func (w *wheel) isCurrent(t int64) bool { return t>>tickBits == w.tick }

// remove removes r.
func (w *wheel) remove(r *registration) {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next = nil, nil
}

// poll looks at one of the registrations whose ticks are over at now; ok is whether
// there was one. If the registration has expired, poll returns it, and the caller
// must remove it before the next poll. If it is live, poll moves it on and returns
// nil.
func (w *wheel) poll(now int64) (expired *registration, ok bool) {
	current := now >> tickBits
	w.tick = max(w.tick, current-wheelTicks) // a turn has every bucket once
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

// pollCurrent looks at one of the registrations whose tick is not over at now, as poll does. No
// registration may be left to poll.
//
// It sorts the bucket once in a tick, so that it is cheap even if a peer at a limit
// asks often.
func (w *wheel) pollCurrent(now int64) (expired *registration, ok bool) {
	b := &w.buckets[w.tick%wheelTicks]
	if b.empty() || !w.isCurrent(now) {
		return nil, false
	}
	if w.sorted != w.tick {
		b.sort()
		w.sorted = w.tick
	}
	r := b.head.next
	switch {
	case r.deadline <= now:
		return r, true
	case r.deadline>>tickBits > w.tick: // it was refreshed
		w.remove(r)
		w.add(r)
		return nil, true
	default:
		return nil, false
	}
}

// sort orders the bucket by deadline.
func (b *bucket) sort() {
	var all []*registration
	for r := b.head.next; r != &b.head; r = r.next {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *registration) int { return cmp.Compare(a.deadline, b.deadline) })
	last := &b.head
	for _, r := range all {
		last.next, r.prev = r, last
		last = r
	}
	last.next, b.head.prev = &b.head, last
}
