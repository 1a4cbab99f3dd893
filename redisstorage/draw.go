package redisstorage

// Drawing random positions without repeats.
//
// The lengths of the arrays are known only from earlier answers. So positions are drawn
// from somewhat longer arrays, and positions without a live entry are dropped. What
// remains is a uniform sample if no array has become longer than was assumed. In almost
// all cases one round trip both learns the new lengths and fetches the sample.

import (
	"math"
	"math/rand/v2"
)

// place is a position in the array of a shard.
type place struct{ shard, pos int }

// drawSizes returns from how many positions of each shard to draw, given the lengths
// that the arrays last had.
func drawSizes(lengths []int) []int {
	sizes := make([]int, len(lengths))
	for i, n := range lengths {
		sizes[i] = n + n/32 + 4
	}
	return sizes
}

// covers reports whether every position of arrays with these lengths could be drawn.
func covers(sizes, lengths []int) bool {
	for i, n := range lengths {
		if n > sizes[i] {
			return false
		}
	}
	return true
}

// drawCount returns how many of size positions to draw in order to find want live
// entries, given the share of positions that have one. Three standard deviations more
// make it unlikely that they are too few.
func drawCount(want, size int, liveShare float64) int {
	w := float64(want)
	k := (w+3*math.Sqrt(w*(1-liveShare)))/liveShare*1.02 + 4
	return int(math.Min(k, float64(size)))
}

// draw returns k different places in random order, all equally likely. It returns all
// places if there are fewer than k.
func draw(sizes []int, k int) []place {
	left := sum(sizes)
	k = min(k, left)
	places := make([]place, 0, k)
	// A Fisher-Yates shuffle of 0, 1, 2, ... that stores only the elements that have
	// moved.
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

// locate returns the place with number i if the positions of all shards are numbered
// one after the other.
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
