package limit

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func TestConcurrent(t *testing.T) {
	s := NewConcurrent[peer.ID](2)
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
	require.Empty(t, s.keys)
}

func TestConcurrentWithoutLimit(t *testing.T) {
	s := NewConcurrent[peer.ID](0)
	for range 1000 {
		require.True(t, s.Enter("p"))
	}
}

// TestConcurrentAtTheSameTime: of many goroutines, no more than the limit have a
// place at a time.
func TestConcurrentAtTheSameTime(t *testing.T) {
	const limit = 10
	s := NewConcurrent[peer.ID](limit)
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
	require.Empty(t, s.keys)
}

// TestConcurrentWait: whoever waits is served in order, and whoever gives up takes no
// place.
func TestConcurrentWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConcurrent[peer.ID](2)
		require.NoError(t, c.Wait(t.Context(), "p"))
		require.NoError(t, c.Wait(t.Context(), "p"))
		require.NoError(t, c.Wait(t.Context(), "another"))
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp, served := make(chan error, 1), make(chan int, 2)
		go func() { gaveUp <- c.Wait(impatient, "p") }()
		synctest.Wait()
		for i := range 2 {
			go func() {
				if c.Wait(t.Context(), "p") == nil {
					served <- i
				}
			}()
			synctest.Wait()
		}
		cancel()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		require.Empty(t, served)
		c.Leave("p")
		require.Equal(t, 0, <-served)
		c.Leave("p")
		require.Equal(t, 1, <-served)
		require.False(t, c.Enter("p"))
		for _, p := range []peer.ID{"p", "p", "another"} {
			c.Leave(p)
		}
		require.Empty(t, c.keys)
	})
}
