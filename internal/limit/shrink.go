package limit

import "maps"

// shrinkingMap is a map that can give memory back. Go's maps do not: they stay as large
// as they ever were.
type shrinkingMap[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
}

func newShrinkingMap[K comparable, V any]() shrinkingMap[K, V] {
	return shrinkingMap[K, V]{m: make(map[K]V)}
}

func (s *shrinkingMap[K, V]) set(k K, v V) {
	s.m[k] = v
	s.peak = max(s.peak, len(s.m))
}

// shrink replaces m by a smaller copy if less than an eighth of it is in use.
func (s *shrinkingMap[K, V]) shrink() {
	if s.peak <= 64 || len(s.m) >= s.peak/8 {
		return
	}
	smaller := make(map[K]V, len(s.m))
	maps.Copy(smaller, s.m)
	s.m, s.peak = smaller, len(smaller)
}
