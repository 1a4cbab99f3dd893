package storagetest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChiSquare(t *testing.T) {
	require.Zero(t, chiSquare(map[string]int{"a": 50, "b": 50}, 2, 100, 1))
	require.InDelta(t, 4.0, chiSquare(map[string]int{"a": 60, "b": 40}, 2, 100, 1), 1e-9)
	require.InDelta(t, 100.0, chiSquare(map[string]int{"a": 100}, 2, 100, 1), 1e-9, "b was never drawn")
	// If each trial draws 2 of 3, each category is drawn in two of three trials.
	require.Zero(t, chiSquare(map[int]int{1: 60, 2: 60, 3: 60}, 3, 90, 2))
	require.InDelta(t, 20.0, chiSquare(map[int]int{1: 80, 2: 50, 3: 50}, 3, 90, 2), 1e-9)
}

// TestChiSquareLimit compares with the exact values for a probability of one in a million.
func TestChiSquareLimit(t *testing.T) {
	require.InEpsilon(t, 44.81, chiSquareLimit(9), 0.03)
	require.InEpsilon(t, 111.14, chiSquareLimit(49), 0.01)
}
