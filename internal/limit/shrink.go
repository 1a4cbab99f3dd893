package limit

import "maps"

// shrink returns m, or a copy if m has room for far more than it holds, because maps do
// not shrink. peak is the most entries that m has had; shrink returns the new peak.
func shrink[K comparable, V any](m map[K]V, peak int) (map[K]V, int) {
	if peak <= 64 || len(m) >= peak/8 {
		return m, peak
	}
	smaller := make(map[K]V, len(m))
	maps.Copy(smaller, m)
	return smaller, len(m)
}
