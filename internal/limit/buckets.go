package limit

import (
	"maps"
	"sync"
	"time"
)

const (
	// maxBuckets bounds the memory of buckets to about 6 MiB.
	maxBuckets = 1 << 16
	// maxFill keeps sums of times from overflowing, whatever the rate. It is 36 years.
	maxFill = time.Duration(1 << 60)
)

// buckets has a token bucket for each key.
//
// A request takes a token. One that finds no token is declined and costs a quarter token,
// which puts the bucket into debt. A full bucket of debt means that requests are dropped,
// and those cost nothing. So a peer slightly over its rate still gets its rate, and a peer
// at four times its rate or more gets nothing once the burst is used up.
//
// A bucket is stored as the time at which it will be full again, and a full bucket is not
// stored at all.
type buckets[K comparable] struct {
	token time.Duration // in which a bucket gains one token; 0: no limit
	fill  time.Duration // in which an empty bucket becomes full
	epoch time.Time     // times are stored as what has passed since then

	mu     sync.Mutex
	fullAt shrinkingMap[K, time.Duration]
}

// newBuckets returns buckets of burst tokens, which is at least 1, that gain perSecond
// tokens a second. 0 per second means no limit.
func newBuckets[K comparable](perSecond, burst float64, now time.Time) *buckets[K] {
	b := &buckets[K]{epoch: now, fullAt: newShrinkingMap[K, time.Duration]()}
	if perSecond > 0 {
		tokens := int64(min(max(burst, 1), float64(maxFill)))
		token := time.Duration(min(max(float64(time.Second)/perSecond, 1), float64(maxFill)))
		b.token = min(token, maxFill/time.Duration(tokens))
		b.fill = b.token * time.Duration(tokens)
	}
	return b
}

// charge takes what a request costs from the bucket of k, and decides about the request.
func (b *buckets[K]) charge(k K, now time.Time) Verdict {
	if b.token == 0 {
		return Serve
	}
	at := now.Sub(b.epoch)
	b.mu.Lock()
	defer b.mu.Unlock()
	missing, stored := b.missing(k, at)
	verdict := Serve
	switch {
	case missing+b.token <= b.fill:
		missing += b.token
	case missing < 2*b.fill:
		missing += b.token / 4
		verdict = Decline
	default:
		return Drop
	}
	if !stored && len(b.fullAt.m) >= maxBuckets {
		b.forgetOne()
	}
	b.fullAt.set(k, at+missing)
	return verdict
}

// inDebt reports whether charge would return Drop.
func (b *buckets[K]) inDebt(k K, now time.Time) bool {
	if b.token == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	missing, _ := b.missing(k, now.Sub(b.epoch))
	return missing >= 2*b.fill
}

// missing returns in what time the bucket of k will be full. b.mu is held.
func (b *buckets[K]) missing(k K, at time.Duration) (missing time.Duration, stored bool) {
	fullAt, stored := b.fullAt.m[k]
	if !stored {
		return 0, false
	}
	return max(0, fullAt-at), true
}

// forgetOne makes any bucket full. For whoever has this many identities or addresses, the
// debt of one is no loss. b.mu is held.
func (b *buckets[K]) forgetOne() {
	for k := range b.fullAt.m {
		delete(b.fullAt.m, k)
		return
	}
}

// sweep frees the memory of buckets that are full.
func (b *buckets[K]) sweep(now time.Time) {
	at := now.Sub(b.epoch)
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.fullAt.m, func(_ K, fullAt time.Duration) bool { return fullAt <= at })
	b.fullAt.shrink()
}
