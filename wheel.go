package rendezvous

// Finding what has expired without looking at what has not.

const (
	// tickBits makes a tick of the wheel 2^24 ns, 17 ms.
	tickBits = 24
	// wheelTicks makes a turn of the wheel 34 s. What lives longer is passed
	// over once each turn.
	wheelTicks = 2048
)

// wheel is a hashed timing wheel: registrations in one list for each tick in
// which they end. Moving one to another deadline costs the same however many
// there are.
type wheel struct {
	buckets [wheelTicks]bucket
	tick    int64 // all that ended before this tick began is gone
}

type bucket struct {
	first *registration
	// earliest is no later than any deadline in the bucket, so that a bucket
	// with nothing due is not searched again and again.
	earliest int64
}

func (w *wheel) bucket(deadline int64) *bucket {
	return &w.buckets[(deadline>>tickBits)%wheelTicks]
}

// add files r under its deadline, which must not be before the wheel's tick.
func (w *wheel) add(r *registration) {
	b := w.bucket(r.deadline)
	if b.first == nil || r.deadline < b.earliest {
		b.earliest = r.deadline
	}
	r.prev, r.next = nil, b.first
	if b.first != nil {
		b.first.prev = r
	}
	b.first = r
}

// remove takes r out. Its deadline must be the one that it was added with.
func (w *wheel) remove(r *registration) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		w.bucket(r.deadline).first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// expire calls end, which must remove it, for each registration that is expired
// at now, but for no more than limit of them, and returns for how many.
func (w *wheel) expire(now int64, limit int, end func(*registration)) int {
	current := now >> tickBits
	w.tick = max(w.tick, current-wheelTicks+1) // each bucket once is enough
	ended := 0
	for {
		ended += w.buckets[w.tick%wheelTicks].expire(now, limit-ended, end)
		if ended == limit || w.tick == current {
			return ended
		}
		w.tick++
	}
}

func (b *bucket) expire(now int64, limit int, end func(*registration)) int {
	if b.first == nil || now < b.earliest {
		return 0
	}
	ended := 0
	var earliest int64
	for r := b.first; r != nil; {
		next := r.next
		switch {
		case r.deadline <= now && ended == limit:
			return ended
		case r.deadline <= now:
			end(r)
			ended++
		case earliest == 0 || r.deadline < earliest:
			earliest = r.deadline
		}
		r = next
	}
	b.earliest = earliest
	return ended
}
