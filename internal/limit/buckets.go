package limit

import (
	"maps"
	"time"
)

const (
	// maxBuckets bounds the memory of buckets to about 6 MiB.
	maxBuckets = 1 << 16
	// maxFill keeps sums of times from overflowing, whatever the rate. It is 36 years.
	maxFill = time.Duration(1 << 60)
)

// buckets has a token bucket for each key. It is guarded by the lock of its [Budget].
//
// A bucket is stored as the time at which it will be full again, and a full bucket is not
// stored at all. Prices are times, too: the time in which a bucket gains the tokens.
type buckets[K comparable] struct {
	fill   time.Duration // in which an empty bucket becomes full
	fullAt shrinkingMap[K, time.Duration]
}

func newBuckets[K comparable](fill time.Duration) buckets[K] {
	return buckets[K]{fill: fill, fullAt: newShrinkingMap[K, time.Duration]()}
}

// quote says what a bucket answers to a price: Serve if it has that much, Decline if it
// has not, and Drop if it has a full bucket of debt. Nothing is charged.
func (b *buckets[K]) quote(k K, price, at time.Duration) Verdict {
	switch missing := b.missing(k, at); {
	case missing+min(price, b.fill) <= b.fill:
		return Serve
	case missing < 2*b.fill:
		return Decline
	default:
		return Drop
	}
}

// charge takes a price from a bucket, even if the bucket has less. The debt is at most
// a full bucket and a price. A negative price is given back.
func (b *buckets[K]) charge(k K, price, at time.Duration) {
	missing := min(max(b.missing(k, at)+min(price, b.fill), 0), 3*b.fill)
	if _, stored := b.fullAt.m[k]; !stored {
		if missing == 0 {
			return
		}
		if len(b.fullAt.m) >= maxBuckets {
			b.forgetOne()
		}
	}
	b.fullAt.set(k, at+missing)
}

// missing returns the time until the bucket of k is full.
func (b *buckets[K]) missing(k K, at time.Duration) time.Duration {
	fullAt, stored := b.fullAt.m[k]
	if !stored {
		return 0
	}
	return max(0, fullAt-at)
}

// forgetOne forgets an arbitrary bucket, which makes it full. Whoever has enough
// identities or addresses to fill the map gains nothing from that.
func (b *buckets[K]) forgetOne() {
	for k := range b.fullAt.m {
		delete(b.fullAt.m, k)
		return
	}
}

// sweep frees the memory of buckets that are full.
func (b *buckets[K]) sweep(at time.Duration) {
	maps.DeleteFunc(b.fullAt.m, func(_ K, fullAt time.Duration) bool { return fullAt <= at })
	b.fullAt.shrink()
}
