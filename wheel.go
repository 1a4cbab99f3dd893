package rendezvous

// Finding what has expired without looking at what has not.

const (
	// tickBits makes a tick of the wheel 2^26 ns, 67 ms.
	tickBits = 26
	// wheelTicks makes a turn of the wheel 34 s.
	wheelTicks = 512
)

// wheel is a hashed timing wheel: registrations in a ring for each tick. None ends
// before the tick that it is filed under. What ends later, because it has been
// extended since or because a turn is too short for it, is filed again when the
// tick is over. So extending a registration, which is what happens to most of them
// all the time, is not to touch the wheel; see "Add, refresh" of bench-storage.
type wheel struct {
	buckets [wheelTicks]bucket
	tick    int64 // nothing is filed under a tick before this one
}

type bucket struct {
	ring registration // no registration, but where the ring begins and ends
	// earliest is no later than any deadline here, so that a bucket with
	// nothing due is not searched again and again.
	earliest int64
}

func (b *bucket) empty() bool { return b.ring.next == nil || b.ring.next == &b.ring }

// file puts r, which is in no bucket, where it belongs.
func (w *wheel) file(r *registration) {
	b := &w.buckets[min(r.deadline>>tickBits, w.tick+wheelTicks-1)%wheelTicks]
	head := &b.ring
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

// remove takes r out of its bucket.
func (w *wheel) remove(r *registration) {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next = nil, nil
}

// advance goes through the ticks that are over at now and calls end, which must
// remove it, for each registration that has ended. It looks at no more than so many
// and reports whether there may be more.
func (w *wheel) advance(now int64, looks int, end func(*registration)) bool {
	current := now >> tickBits
	w.tick = max(w.tick, current-wheelTicks+1) // each bucket once is enough
	for ; w.tick < current; w.tick++ {
		b := &w.buckets[w.tick%wheelTicks]
		for ; !b.empty(); looks-- {
			if looks == 0 {
				return true
			}
			r := b.ring.next
			if r.deadline <= now {
				end(r)
				continue
			}
			w.remove(r)
			w.file(r) // up to a turn ahead, and so not here again
		}
	}
	return false
}

// expire is advance for as many looks as it takes, and for the tick that is not over
// yet as well. It returns as soon as one registration has ended.
func (w *wheel) expire(now int64, end func(*registration)) {
	ended := false
	note := func(r *registration) {
		end(r)
		ended = true
	}
	for more := true; more && !ended; {
		more = w.advance(now, 1, note)
	}
	if ended {
		return
	}
	b := &w.buckets[w.tick%wheelTicks]
	if b.empty() || now < b.earliest {
		return
	}
	b.earliest = farFuture
	for r := b.ring.next; r != &b.ring; r = r.next {
		if r.deadline <= now {
			b.earliest = r.deadline // there may be more
			end(r)
			return
		}
		b.earliest = min(b.earliest, r.deadline)
	}
}

const farFuture = 1<<63 - 1
