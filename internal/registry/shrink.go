package registry

// shrink returns s, or a copy with half the spare room if less than a quarter of s is in use.
func shrink[T any](s []T) []T {
	if cap(s) <= 8 || len(s) >= cap(s)/4 {
		return s
	}
	return append(make([]T, 0, 2*len(s)), s...)
}
