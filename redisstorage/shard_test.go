package redisstorage

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSetCount checks that a count is ignored if a later one has overtaken it.
func TestSetCount(t *testing.T) {
	const now = 1_700_000_000_000
	hour := time.Hour.Milliseconds()
	var s shard
	for _, step := range []struct {
		header header
		want   int64
	}{
		{header{now: now, length: 5}, 5},
		{header{now: now - 1, length: 9}, 5},
		{header{now: now, length: 4}, 5},
		{header{now: now, length: 6}, 6},
		{header{now: now + 1, length: 2}, 2},
		{header{now: now - hour, length: 7}, 7}, // another server with another clock
		{header{now: now - hour + 1, length: 8}, 8},
	} {
		s.setCount(step.header)
		require.Equal(t, step.want, s.lastCount())
	}
}
