package logging

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		expect := func(wantCount int, wantDue bool) {
			t.Helper()
			count, due := l.Due()
			require.Equal(t, wantDue, due)
			require.Equal(t, wantCount, count)
		}
		expect(1, true)
		for range 5 {
			expect(0, false)
		}
		time.Sleep(interval - time.Nanosecond)
		expect(0, false)
		time.Sleep(time.Nanosecond)
		expect(7, true)
		expect(0, false)
		time.Sleep(10 * interval)
		expect(2, true)
	})
}

// TestLimitOfMany: of many goroutines at the same time, one gets the line.
func TestLimitOfMany(t *testing.T) {
	var l Limit
	var lines, occurrences atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if count, due := l.Due(); due {
				lines.Add(1)
				occurrences.Add(int64(count))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, lines.Load())
	require.GreaterOrEqual(t, occurrences.Load(), int64(1))
}
