package redisstorage

// Drawing without repeats from arrays of which only the lengths are known, and those
// from hearsay.
//
// Positions are drawn from somewhat more than there was (see bounds); what turns
// out to be past an array's end, or to have ended, is thrown away. Whatever is drawn
// and stays is a uniform sample of what is there, as long as the bounds were not too
// low; and in almost every case one round trip has both learnt the lengths and
// fetched the sample.

import (
	"math"
	"math/rand/v2"
	"sync"
)

// place is where something is kept.
type place struct{ shard, pos int }

// bounds returns from how many positions of each array to draw, given the lengths
// that were last heard of.
func bounds(lengths []int) []int {
	sizes := make([]int, len(lengths))
	for i, n := range lengths {
		sizes[i] = n + n/32 + 4
	}
	return sizes
}

// enough returns how many of size places to draw so that want remain, when one in so
// many (yield) does.
func enough(want, size int, yield float64) int {
	k := float64(want)/yield*1.02 + 4
	return int(math.Min(k, float64(size)))
}

// draw returns k different places, each as likely as any other, in random order.
func draw(sizes []int, k int) []place {
	left := sum(sizes)
	k = min(k, left)
	places := make([]place, 0, k)
	// Fisher and Yates' shuffle, of which only what differs from the order at the
	// start is written down.
	moved := make(map[int]int, k)
	at := func(i int) int {
		if v, ok := moved[i]; ok {
			return v
		}
		return i
	}
	for range k {
		i := rand.IntN(left)
		left--
		v := at(i)
		moved[i] = at(left)
		places = append(places, locate(sizes, v))
	}
	return places
}

// locate returns the place of the ith position, counted over all arrays.
func locate(sizes []int, i int) place {
	shard := 0
	for i >= sizes[shard] {
		i -= sizes[shard]
		shard++
	}
	return place{shard: shard, pos: i}
}

func sum(ns []int) int {
	total := 0
	for _, n := range ns {
		total += n
	}
	return total
}

// lengths remembers how long the arrays of namespaces were. It forgets what has not
// been asked for in a while: peers may ask for any number of namespaces.
type lengths struct {
	mu         sync.Mutex
	young, old map[string][]int
}

// lengthsKept is how many namespaces a generation of lengths has.
const lengthsKept = 4096

// of returns the lengths of a namespace's arrays in each of n shards. It is the
// caller's to keep, and not to write to.
func (l *lengths) of(ns string, n int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.young[ns]; ok {
		return known
	}
	if known, ok := l.old[ns]; ok {
		return known
	}
	return make([]int, n)
}

// learn takes known over.
func (l *lengths) learn(ns string, known []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == nil || len(l.young) >= lengthsKept {
		l.young, l.old = make(map[string][]int), l.young
	}
	l.young[ns] = known
}
