package points

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestRankIsFixed compares with orders that another program has computed. Peers of
// different versions must rank the same way to meet.
func TestRankIsFixed(t *testing.T) {
	for namespace, want := range map[string][]peer.ID{
		"floodsub:news": {"gamma", "delta", "alpha", "beta", "epsilon"},
		"":              {"beta", "gamma", "alpha", "epsilon", "delta"},
		"n":             {"delta", "gamma", "epsilon", "beta", "alpha"},
	} {
		ids := []peer.ID{"alpha", "beta", "gamma", "delta", "epsilon"}
		require.Equal(t, want, Rank(ids, namespace), namespace)
		require.Equal(t, want, ids, "in place")
	}
	require.Empty(t, Rank(nil, "n"))
}

// TestRankProperties: the order does not depend on the order in which points are known,
// a point that comes or goes does not move the others, and each point is first in about
// its share of the namespaces.
func TestRankProperties(t *testing.T) {
	var ids []peer.ID
	for range 5 {
		ids = append(ids, randomID(t))
	}
	first := make(map[peer.ID]int)
	for i := range 1000 {
		namespace := fmt.Sprintf("namespace %d", i)
		ranked := Rank(slices.Clone(ids), namespace)
		slices.Reverse(ids)
		require.Equal(t, ranked, Rank(slices.Clone(ids), namespace))
		gone := i % len(ids)
		require.Equal(t, slices.Delete(slices.Clone(ranked), gone, gone+1),
			Rank(slices.DeleteFunc(slices.Clone(ids), func(id peer.ID) bool { return id == ranked[gone] }), namespace))
		first[ranked[0]]++
	}
	for _, n := range first {
		require.InDelta(t, 200, n, 80)
	}
}
