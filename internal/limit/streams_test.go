package limit

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStreams(t *testing.T) {
	s := NewStreams(2)
	require.True(t, s.Enter("p"))
	require.True(t, s.Enter("p"))
	require.False(t, s.Enter("p"))
	require.True(t, s.Enter("another"))
	s.Leave("p")
	require.True(t, s.Enter("p"))
	require.False(t, s.Enter("p"))
	for range 3 { // once too often
		s.Leave("p")
	}
	s.Leave("another")
	require.Empty(t, s.count)
}

func TestStreamsWithoutLimit(t *testing.T) {
	s := NewStreams(0)
	for range 1000 {
		require.True(t, s.Enter("p"))
	}
}

// TestStreamsAtTheSameTime: of many goroutines, no more than the limit are in.
func TestStreamsAtTheSameTime(t *testing.T) {
	const limit = 10
	s := NewStreams(limit)
	var inside, entered atomic.Int32
	var all sync.WaitGroup
	for range 8 * limit {
		all.Go(func() {
			if !s.Enter("p") {
				return
			}
			entered.Add(1)
			if n := inside.Add(1); n > limit {
				t.Errorf("%d streams at the same time", n)
			}
			inside.Add(-1)
			s.Leave("p")
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, entered.Load(), int32(limit))
	require.Empty(t, s.count)
}
