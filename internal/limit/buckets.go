package limit

import (
	"maps"
	"sync"
	"time"
)

// Verdict says what to do with a request.
type Verdict int

// The verdicts, from the mildest.
const (
	Serve   Verdict = iota // within the rate
	Decline                // over the rate: answer that there were too many
	Drop                   // far over the rate: end the stream
)

// maxBuckets bounds the memory of buckets, to about 10 MiB. Beyond it, a random bucket is
// forgotten for each new one: a peer with that many identities or addresses gains nothing
// by the debt of one.
const maxBuckets = 1 << 16

// buckets has a token bucket for each key. A bucket is stored as the time when it will be
// full again. A full bucket is not stored.
//
// A request that finds its bucket empty is declined and costs a quarter token. A full
// bucket of debt closes the stream. So a peer a little over the rate still gets the rate,
// and a peer at four times the rate gets nothing.
type buckets[K comparable] struct {
	perToken time.Duration // in which a bucket gains a token; 0: no limit
	size     time.Duration // in which an empty bucket fills

	mu     sync.Mutex
	fullAt map[K]time.Time
	peak   int // most entries since fullAt was made
}

func newBuckets[K comparable](perSecond float64, burst int) buckets[K] {
	if perSecond == 0 {
		return buckets[K]{}
	}
	perToken := max(1, time.Duration(float64(time.Second)/perSecond))
	return buckets[K]{perToken: perToken, size: perToken * time.Duration(burst), fullAt: make(map[K]time.Time)}
}

func (b *buckets[K]) inDebt(k K, now time.Time) bool {
	if b.perToken == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullAt[k].Sub(now) >= 2*b.size
}

func (b *buckets[K]) take(k K, now time.Time) Verdict {
	if b.perToken == 0 {
		return Serve
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := max(0, b.fullAt[k].Sub(now))
	v := Serve
	switch {
	case missing+b.perToken <= b.size:
		missing += b.perToken
	case missing < 2*b.size:
		missing += b.perToken / 4
		v = Decline
	default:
		return Drop
	}
	if _, known := b.fullAt[k]; !known && len(b.fullAt) >= maxBuckets {
		for random := range b.fullAt {
			delete(b.fullAt, random)
			break
		}
	}
	b.fullAt[k] = now.Add(missing)
	b.peak = max(b.peak, len(b.fullAt))
	return v
}

// sweep forgets full buckets.
func (b *buckets[K]) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.fullAt, func(_ K, at time.Time) bool { return !now.Before(at) })
	b.fullAt, b.peak = shrink(b.fullAt, b.peak)
}
