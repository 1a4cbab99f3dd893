package redisstorage

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHeard: answers that were overtaken by newer ones change nothing.
func TestHeard(t *testing.T) {
	const now = 1_700_000_000_000
	var s state
	for _, step := range []struct {
		head head
		want int64
	}{
		{head{now: now, length: 5}, 5},
		{head{now: now - 1, length: 9}, 5},
		{head{now: now, length: 4}, 5},
		{head{now: now, length: 6}, 6},
		{head{now: now + 1, length: 2}, 2},
		{head{now: now - time.Hour.Milliseconds(), length: 7}, 7}, // another server, another clock
		{head{now: now - time.Hour.Milliseconds() + 1, length: 8}, 8},
	} {
		s.heard(step.head)
		require.Equal(t, step.want, s.held())
	}
}
