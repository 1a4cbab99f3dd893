package points

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPace: urgent requests go first, the rate halves once for what was sent together,
// and grows back.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range int(firstRate * burstTime.Seconds()) {
			require.Nil(t, p.enter(false, 1))
		}
		begun := time.Now()
		var last [2]time.Duration
		var mu sync.Mutex
		var running sync.WaitGroup
		for i := range 100 {
			running.Go(func() {
				require.NoError(t, p.wait(t.Context(), i%2 == 0, 1))
				mu.Lock()
				defer mu.Unlock()
				last[i%2] = time.Since(begun)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, p.wait(ctx, true, 1), context.DeadlineExceeded)
		running.Wait()
		require.Less(t, last[0], 1300*time.Millisecond)
		require.InDelta(t, 2*time.Second, last[1], float64(100*time.Millisecond))

		for range 10 {
			p.tooMuch(begun.Add(time.Second))
		}
		require.InDelta(t, firstRate/2, p.rate, 1)
		require.Positive(t, p.retryAfter())
		p.answered()
		time.Sleep(2 * recoveryTime)
		p.refill(time.Now())
		require.InDelta(t, p.ceiling, p.rate, 0.01)
		require.Zero(t, p.retryAfter())
	})
}

// TestPaceAfterABatch: a point declines the rest of a batch, and charges a quarter of a request for
// each. It then declines what is sent right after that, too, until it has got over that. That does
// not halve the rate again and again: what a host keeps alive at the point would end.
func TestPaceAfterABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch, price, declined, roundTrip = 64, 0.25, 0.25, 50 * time.Millisecond
		p := newPace()
		p.rate, p.ceiling = 75, 75 // more than the point's
		count, counted := 0.0, time.Now()
		ask := func(n int) {
			begun := time.Now()
			time.Sleep(roundTrip)
			count, counted = min(100, count+firstRate*time.Since(counted).Seconds()), time.Now()
			for range n {
				if count < price {
					count -= declined
					p.tooMuch(begun)
				} else {
					count -= price
					p.answered()
				}
			}
		}
		for p.cut.IsZero() {
			ask(batch)
		}
		for range 100 {
			require.NoError(t, p.wait(t.Context(), true, price))
			ask(1)
			require.GreaterOrEqual(t, p.rate, firstRate/2)
		}
	})
}
