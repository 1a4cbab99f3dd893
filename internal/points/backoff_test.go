package points

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var someTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestBackoffDoubles up to its bound. Failures that began together count once.
func TestBackoffDoubles(t *testing.T) {
	now := someTime
	var b backoff
	require.False(t, b.active(now))
	for want := MinBackoff; want < 4*maxBackoff; want *= 2 {
		begun := now
		now = now.Add(time.Millisecond)
		b.fail(begun, now, errUseless)
		first := b
		b.fail(begun, now.Add(time.Millisecond), errUseless)
		require.Equal(t, first, b)
		wait := b.until.Sub(now)
		require.LessOrEqual(t, wait, min(want, maxBackoff))
		require.GreaterOrEqual(t, wait, min(want, maxBackoff)*3/4-1, "jitter takes a quarter at most")
		require.True(t, b.active(b.until.Add(-1)))
		require.False(t, b.active(b.until))
		now = b.until
	}
}

// TestBackoffProperties: whatever the order in which requests begin and fail, the
// backoff is within its bounds, failures are counted at most once each, and a long
// outage does not overflow.
func TestBackoffProperties(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		now := someTime
		var b backoff
		for calls := 1; calls < 500; calls++ {
			now = now.Add(time.Duration(r.Int64N(int64(4 * time.Second))))
			begun := now.Add(-time.Duration(r.Int64N(int64(5 * time.Second))))
			before := b
			b.fail(begun, now, errUseless)
			require.LessOrEqual(t, b.failures, calls)
			if !begun.After(before.since) {
				require.Equal(t, before, b)
				continue
			}
			require.Equal(t, before.failures+1, b.failures)
			require.Equal(t, now, b.since)
			require.GreaterOrEqual(t, b.until.Sub(now), MinBackoff*3/4-1)
			require.LessOrEqual(t, b.until.Sub(now), maxBackoff)
			if b.failures >= goneAfter-1 {
				require.GreaterOrEqual(t, b.until.Sub(now), maxBackoff*3/4-1)
			}
		}
	}
}

// TestPause: what the host itself refuses neither lengthens the backoff nor ends it.
func TestPause(t *testing.T) {
	now := someTime
	var b backoff
	for range 2 * goneAfter {
		now = now.Add(time.Second)
		b.pause(now, now, errUseless)
		require.Equal(t, 1, b.failures)
		require.LessOrEqual(t, b.until.Sub(now), MinBackoff)
	}
	for range goneAfter {
		now = now.Add(maxBackoff)
		b.fail(now, now, errUseless)
	}
	failures := b.failures
	b.pause(now, now.Add(time.Second), errUseless)
	require.Equal(t, now, b.since, "one that began before the last failure is not counted")
	now = now.Add(maxBackoff)
	b.pause(now, now, errUseless)
	require.Equal(t, failures, b.failures)
	require.LessOrEqual(t, b.until.Sub(now), MinBackoff)
}

// TestJitter takes away a quarter at most, and never adds.
func TestJitter(t *testing.T) {
	for range 1000 {
		d := time.Duration(rand.Int64N(int64(time.Minute)))
		require.LessOrEqual(t, Jitter(d), d)
		require.GreaterOrEqual(t, Jitter(d), d-d/4)
	}
	require.Zero(t, Jitter(0))
}
