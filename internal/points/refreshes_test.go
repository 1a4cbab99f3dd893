package points

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRefreshes: registrations that begin within a little time of each other are refreshed
// together, and each of them at 0.45 to 0.6 of its TTL.
func TestRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Refreshes
		const ttl = 20 * time.Second
		times := make(map[time.Time]int)
		for range 100 { // over 10 s
			begun := time.Now()
			time.Sleep(50 * time.Millisecond) // the answer takes time
			after := r.After(begun, ttl)
			due := time.Now().Add(after)
			require.GreaterOrEqual(t, due.Sub(begun), ttl*9/20)
			require.LessOrEqual(t, due.Sub(begun), ttl*3/5)
			times[due]++
			time.Sleep(50 * time.Millisecond)
		}
		// Each moment serves all that begin in the time between its earliest and its
		// latest, 3 s at most. By chance, a moment can be close to the last one.
		require.Less(t, len(times), 50)

		begun := time.Now()
		short := r.After(begun, time.Second)
		require.LessOrEqual(t, short, 600*time.Millisecond)
		require.GreaterOrEqual(t, short, 450*time.Millisecond)
	})
}
