package points

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Rank sorts points in place for a namespace, by highest random weight, and returns them.
// All peers must get the same order, whatever language they are written in: the weight of a
// point is the SHA-256 of its binary peer ID followed by the namespace. The greatest is
// first.
func Rank(ids []peer.ID, namespace string) []peer.ID {
	return rank(ids, func(id peer.ID) peer.ID { return id }, namespace)
}

// rank is [Rank] for anything that has the ID of a point.
func rank[T any](points []T, id func(T) peer.ID, namespace string) []T {
	if len(points) < 2 {
		return points // there is nothing to hash for, and many hosts know one point
	}
	type weighted struct {
		point  T
		weight [sha256.Size]byte
	}
	sorted := make([]weighted, len(points))
	for i, p := range points {
		sorted[i] = weighted{p, sha256.Sum256([]byte(string(id(p)) + namespace))}
	}
	slices.SortFunc(sorted, func(a, b weighted) int {
		return bytes.Compare(b.weight[:], a.weight[:])
	})
	for i := range sorted {
		points[i] = sorted[i].point
	}
	return points
}
