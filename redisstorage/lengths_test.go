package redisstorage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLengthCacheBounded checks that the cache stays small although peers choose the
// namespaces in it.
func TestLengthCacheBounded(t *testing.T) {
	const last = 5*generationSize - 1
	var c lengthCache
	for i := range last + 1 {
		c.put(fmt.Sprint(i), extent{lengths: []int{i}})
		require.LessOrEqual(t, len(c.recent)+len(c.previous), 2*generationSize)
	}
	require.Equal(t, []int{last}, c.get(fmt.Sprint(last), 1).lengths)
	require.Equal(t, []int{last - generationSize}, c.get(fmt.Sprint(last-generationSize), 1).lengths, "of the previous generation")
	require.Equal(t, []int{0}, c.get("0", 1).lengths, "forgotten")
}
