package rendezvous

import "maps"

// table is a map that gives its memory back, which Go's maps do not: they stay
// as large as they ever were.
type table[K comparable, V any] struct {
	m    map[K]V
	peak int // the most that m has held
}

func (t *table[K, V]) get(k K) V { return t.m[k] }

func (t *table[K, V]) len() int { return len(t.m) }

func (t *table[K, V]) set(k K, v V) {
	if t.m == nil {
		t.m = make(map[K]V)
	}
	t.m[k] = v
	t.peak = max(t.peak, len(t.m))
}

func (t *table[K, V]) delete(k K) {
	delete(t.m, k)
	if t.peak > 64 && len(t.m) < t.peak/32 {
		t.shrink()
	}
}

func (t *table[K, V]) shrink() {
	small := make(map[K]V, len(t.m))
	maps.Copy(small, t.m)
	t.m, t.peak = small, len(small)
}
