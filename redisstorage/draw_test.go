package redisstorage

import (
	"fmt"
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

// Every ordered pair is as likely as any other.
func TestDrawUniform(t *testing.T) {
	const draws, places = 60_000, 6
	counts := make(map[[2]place]int)
	for range draws {
		drawn := draw([]int{2, 4}, 2)
		counts[[2]place{drawn[0], drawn[1]}]++
	}
	const outcomes = places * (places - 1)
	require.Len(t, counts, outcomes)
	square, expected := 0.0, float64(draws)/outcomes
	for _, n := range counts {
		square += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	require.Less(t, square, 75.0, "chi-square with 29 degrees of freedom: once in 100,000 by chance")
}

func TestEnough(t *testing.T) {
	require.Equal(t, 100, enough(1<<62, 100, 0.5))
	require.Equal(t, 100, enough(1, 100, 1e-300))
	require.GreaterOrEqual(t, enough(50, 1000, 0.9), 56)
}

// TestLengthsBounded: peers choose for which namespaces they ask.
func TestLengthsBounded(t *testing.T) {
	var l lengths
	for i := range 5 * lengthsKept {
		l.learn(fmt.Sprint(i), []int{i})
		require.LessOrEqual(t, len(l.young)+len(l.old), 2*lengthsKept)
	}
	require.Equal(t, []int{5*lengthsKept - 1}, l.of(fmt.Sprint(5*lengthsKept-1), 1))
	require.Equal(t, []int{0}, l.of("0", 1))
}
