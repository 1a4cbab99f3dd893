package redisstorage

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSetReport checks that a report is ignored if a later one has overtaken it.
func TestSetReport(t *testing.T) {
	const now = 1_700_000_000_000
	hour := time.Hour.Milliseconds()
	var s shard
	for _, step := range []struct {
		report report
		want   int64
	}{
		{report{at: now, live: 5}, 5},
		{report{at: now - 1, live: 9}, 5},
		{report{at: now, live: 4}, 5},
		{report{at: now, live: 6}, 6},
		{report{at: now + 1, live: 2}, 2},
		{report{at: now - hour, live: 7}, 7}, // another server with another clock
		{report{at: now - hour + 1, live: 8}, 8},
	} {
		s.setReport(step.report)
		require.Equal(t, step.want, s.lastReport().live)
	}
}
