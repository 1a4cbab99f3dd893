package rendezvous

// Maps that shrink.

import (
	"hash/maphash"
	"maps"
)

// shards makes the pause in which a table of a million shrinks 64 times shorter; see
// "a million end at once" of bench-storage.
const shards = 64

// table is a map that gives its memory back, which Go's maps do not: they stay as
// large as they ever were. It is in parts, which shrink one at a time. Its zero value
// is empty.
type table[K ~string, V any] struct {
	parts [shards]part[K, V]
	count int
}

type part[K ~string, V any] struct {
	m    map[K]V
	peak int // the most that m has held
}

var tableSeed = maphash.MakeSeed()

func (t *table[K, V]) part(k K) *part[K, V] {
	return &t.parts[maphash.String(tableSeed, string(k))%shards]
}

func (t *table[K, V]) get(k K) V { return t.part(k).m[k] }

func (t *table[K, V]) len() int { return t.count }

// set gives a key that is not there a value.
func (t *table[K, V]) set(k K, v V) {
	p := t.part(k)
	if p.m == nil {
		p.m = make(map[K]V)
	}
	p.m[k] = v
	p.peak = max(p.peak, len(p.m))
	t.count++
}

// delete deletes a key that is there.
func (t *table[K, V]) delete(k K) {
	p := t.part(k)
	delete(p.m, k)
	t.count--
	if len(p.m) == 0 {
		*p = part[K, V]{}
	} else {
		p.m, p.peak = shrink(p.m, p.peak)
	}
}

// shrink returns m, or a copy where m has room for far more than it holds: maps do
// not shrink by themselves. peak is the most that m has held.
func shrink[K comparable, V any](m map[K]V, peak int) (map[K]V, int) {
	if peak <= 64 || len(m) >= peak/8 {
		return m, peak
	}
	smaller := make(map[K]V, len(m))
	maps.Copy(smaller, m)
	return smaller, len(m)
}
