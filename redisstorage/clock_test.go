package redisstorage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// exchange observes one exchange with a server whose clock is ahead by some time. The
// request takes there to arrive and the answer takes back. exchange returns when the
// server read its clock, when the answer arrived, and what the server's clock showed.
func exchange(c *clock, ahead time.Duration, sent time.Time, there, back time.Duration) (read, received time.Time, server int64) {
	read = sent.Add(there)
	received = read.Add(back)
	server = int64((read.Sub(epoch) + ahead) / time.Millisecond)
	c.observe(sent, received, server)
	return read, received, server
}

func TestClock(t *testing.T) {
	const ahead = time.Hour
	var c clock
	require.Zero(t, c.server(epoch))

	// A fast exchange gives narrow bounds, which slow exchanges do not widen.
	now := epoch.Add(time.Minute)
	exchange(&c, ahead, now, time.Millisecond, time.Millisecond)
	for range 100 {
		now = now.Add(250 * time.Millisecond)
		read, received, server := exchange(&c, ahead, now, rand.N(2*time.Second), rand.N(2*time.Second))

		earliest := time.Duration(c.server(now)) * time.Millisecond
		require.LessOrEqual(t, earliest, now.Sub(epoch)+ahead)
		require.Greater(t, earliest, now.Sub(epoch)+ahead-30*time.Millisecond)

		at := c.local(now, received, server)
		require.False(t, at.After(read))
		require.Less(t, read.Sub(at), 30*time.Millisecond)
	}

	// When the server's clock is set, the new difference counts at once.
	now = now.Add(time.Second)
	exchange(&c, -ahead, now, time.Millisecond, time.Millisecond)
	require.InDelta(t, int64((now.Sub(epoch)-ahead)/time.Millisecond), c.server(now), 3)
}

// TestClockBounds checks that a wrong estimate never puts the server's reading before the
// request or after the answer.
func TestClockBounds(t *testing.T) {
	var c clock
	sent := epoch.Add(time.Minute)
	received := sent.Add(time.Second)
	require.Equal(t, sent, c.local(sent, received, 0))
	exchange(&c, 0, sent, 0, 0)
	require.Equal(t, sent, c.local(sent, received, 0))
	require.Equal(t, received, c.local(sent, received, 1<<40))
}
