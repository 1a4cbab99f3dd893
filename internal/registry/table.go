package registry

import (
	"hash/maphash"
	"maps"
)

// shards bounds how long a table of a million entries pauses when it shrinks: a
// shard is copied at a time.
const shards = 64

// table is a map that gives memory back as it empties, which Go's maps do not: they stay as
// large as they ever were. The zero table is empty.
type table[K comparable, V any] struct {
	shards [shards]shard[K, V]
	count  int
}

type shard[K comparable, V any] struct {
	entries map[K]V
	peak    int // the most entries that the map has held
}

var seed = maphash.MakeSeed()

func (t *table[K, V]) shard(k K) *shard[K, V] {
	return &t.shards[maphash.Comparable(seed, k)%shards]
}

// get returns the value of a key, or the zero V.
func (t *table[K, V]) get(k K) V { return t.shard(k).entries[k] }

func (t *table[K, V]) len() int { return t.count }

// values iterates over the values, in no order.
func (t *table[K, V]) values(yield func(V) bool) {
	for i := range t.shards {
		for _, v := range t.shards[i].entries {
			if !yield(v) {
				return
			}
		}
	}
}

// update sets the value of a key that is there.
func (t *table[K, V]) update(k K, v V) { t.shard(k).entries[k] = v }

// add adds a key that is not there.
func (t *table[K, V]) add(k K, v V) {
	s := t.shard(k)
	if s.entries == nil {
		s.entries = make(map[K]V)
	}
	s.entries[k] = v
	s.peak = max(s.peak, len(s.entries))
	t.count++
}

// delete deletes a key that is there.
func (t *table[K, V]) delete(k K) {
	s := t.shard(k)
	delete(s.entries, k)
	t.count--
	switch n := len(s.entries); {
	case n == 0:
		*s = shard[K, V]{}
	case s.peak > 64 && n < s.peak/8:
		smaller := make(map[K]V, n)
		maps.Copy(smaller, s.entries)
		*s = shard[K, V]{smaller, n}
	}
}
