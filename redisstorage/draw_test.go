package redisstorage

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDraw(t *testing.T) {
	sizes := []int{3, 0, 1, 5}
	for k := range 12 {
		seen := make(map[place]bool)
		for _, p := range draw(sizes, k) {
			require.False(t, seen[p])
			require.Less(t, p.pos, sizes[p.shard])
			seen[p] = true
		}
		require.Len(t, seen, min(k, 9))
	}
	require.Empty(t, draw([]int{0, 0}, 5))
}

// TestDrawUniform checks that all ordered pairs of places are equally likely.
func TestDrawUniform(t *testing.T) {
	const draws, places = 60_000, 6
	counts := make(map[[2]place]int)
	for range draws {
		drawn := draw([]int{2, 4}, 2)
		counts[[2]place{drawn[0], drawn[1]}]++
	}
	const outcomes = places * (places - 1)
	require.Len(t, counts, outcomes)
	chiSquare, expected := 0.0, float64(draws)/outcomes
	for _, n := range counts {
		chiSquare += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	require.Less(t, chiSquare, 75.0, "with 29 degrees of freedom, chance exceeds this once in 100,000 times")
}

func TestDrawCount(t *testing.T) {
	require.Equal(t, 100, drawCount(math.MaxInt, 100, 0.5))
	require.Equal(t, 100, drawCount(1, 100, 1e-300))
	require.Equal(t, 55, drawCount(50, 100, 1))
	require.GreaterOrEqual(t, drawCount(50, 1000, 0.9), 56)
}

func TestCovers(t *testing.T) {
	require.True(t, covers([]int{3, 4}, []int{3, 0}))
	require.False(t, covers([]int{3, 4}, []int{1, 5}))
	require.True(t, covers(drawSizes([]int{0, 1000}), []int{4, 1035}))
}
