package redisstorage

// A cache of the lengths of arrays and the sizes of their entries.

import "sync"

// extent is how long the arrays of a namespace are, by shard, and how large their entries.
type extent struct {
	lengths []int // of the arrays; of the live part of the index for all namespaces
	entry   int   // mean bytes of a namespace and an envelope; 0: not known
}

// lengthCache is a two-generation cache of the extent of each namespace's arrays. It is
// bounded, because peers may ask for any number of namespaces. All methods may be called
// concurrently.
type lengthCache struct {
	mu               sync.Mutex
	recent, previous map[string]extent
}

// generationSize is the number of namespaces in a generation.
const generationSize = 4096

// get returns the extent of a namespace's arrays in n shards. Lengths that are not in the
// cache are 0. The caller must not write to the result.
func (c *lengthCache) get(ns string, n int) extent {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.recent[ns]; ok {
		return e
	}
	if e, ok := c.previous[ns]; ok {
		return e
	}
	return extent{lengths: make([]int, n)}
}

// put stores an extent, which the cache owns from then on.
func (c *lengthCache) put(ns string, e extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent == nil || len(c.recent) >= generationSize {
		c.recent, c.previous = make(map[string]extent), c.recent
	}
	c.recent[ns] = e
}
