package redisstorage

// A cache of the lengths of arrays.

import "sync"

// lengthCache is a two-generation cache of the lengths of each namespace's arrays. It is
// bounded, because peers may ask for any number of namespaces. All methods may be called
// concurrently.
type lengthCache struct {
	mu               sync.Mutex
	recent, previous map[string][]int
}

// generationSize is the number of namespaces in a generation.
const generationSize = 4096

// get returns the lengths of a namespace's arrays, one for each of n shards. Lengths
// that are not in the cache are 0. The caller must not write to the result.
func (c *lengthCache) get(ns string, n int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lengths, ok := c.recent[ns]; ok {
		return lengths
	}
	if lengths, ok := c.previous[ns]; ok {
		return lengths
	}
	return make([]int, n)
}

// put stores lengths, which the cache owns from then on.
func (c *lengthCache) put(ns string, lengths []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent == nil || len(c.recent) >= generationSize {
		c.recent, c.previous = make(map[string][]int), c.recent
	}
	c.recent[ns] = lengths
}
