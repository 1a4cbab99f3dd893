package points

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGatherer: what comes at the same time is done together, and no more than maxGroup.
func TestGatherer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var groups [][]int
		g := NewGatherer(func(_ context.Context, all []int) {
			mu.Lock()
			defer mu.Unlock()
			groups = append(groups, all)
		})
		begun := time.Now()
		var running sync.WaitGroup
		for i := range maxGroup + 10 {
			running.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				g.Do(t.Context(), i)
				mu.Lock()
				defer mu.Unlock()
				require.True(t, slices.ContainsFunc(groups, func(all []int) bool { return slices.Contains(all, i) }))
			})
		}
		running.Wait()
		require.Less(t, time.Since(begun), 2*gatherTime)
		require.Len(t, groups, 2)
		require.Len(t, groups[0], maxGroup)
		require.Len(t, groups[1], 10)

		g.Do(t.Context(), 1)
		require.Equal(t, []int{1}, groups[2])
	})
}

// TestGathererEnds when the first one in the group no longer wants it, or after groupTimeout. Its
// calls return only when nothing is done for them any more.
func TestGathererEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := 0
		g := NewGatherer(func(ctx context.Context, all []int) {
			<-ctx.Done()
			time.Sleep(time.Second)
			done += len(all)
		})
		do := func(after time.Duration) {
			var running sync.WaitGroup
			begun := time.Now()
			for i := range 3 {
				running.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if i == 1 {
						time.AfterFunc(after, cancel)
					}
					g.Do(ctx, i)
					require.Equal(t, min(after, groupTimeout)+time.Second, time.Since(begun))
				})
			}
			running.Wait()
			require.Equal(t, 3, done)
			done = 0
		}
		do(time.Second)
		do(time.Hour)
		do(gatherTime / 2)
	})
}
