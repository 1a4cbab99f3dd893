package redisstorage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// exchange is one question to a server whose clock is ahead: it was sent, heard by
// the server, and answered.
func exchange(c *clock, ahead time.Duration, sent time.Time, there, back time.Duration) (heard, received time.Time, said int64) {
	heard = sent.Add(there)
	received = heard.Add(back)
	said = int64((heard.Sub(epoch) + ahead) / time.Millisecond)
	c.observe(sent, received, said)
	return heard, received, said
}

func TestClock(t *testing.T) {
	const ahead = time.Hour
	var c clock
	require.Zero(t, c.server(epoch))

	// The quickest exchange tells most, and slow ones take nothing of it away.
	now := epoch.Add(time.Minute)
	exchange(&c, ahead, now, time.Millisecond, time.Millisecond)
	for range 100 {
		now = now.Add(250 * time.Millisecond)
		heard, received, said := exchange(&c, ahead, now, rand.N(2*time.Second), rand.N(2*time.Second))

		server := time.Duration(c.server(now)) * time.Millisecond
		require.LessOrEqual(t, server, now.Sub(epoch)+ahead, "never later than it is")
		require.Greater(t, server, now.Sub(epoch)+ahead-30*time.Millisecond)

		at := c.local(now, received, said)
		require.False(t, at.After(heard), "never later than it was")
		require.Less(t, heard.Sub(at), 30*time.Millisecond)
	}

	// A clock that is set is believed.
	now = now.Add(time.Second)
	exchange(&c, -ahead, now, time.Millisecond, time.Millisecond)
	require.InDelta(t, int64((now.Sub(epoch)-ahead)/time.Millisecond), c.server(now), 3)
}

// Whatever is believed, nothing is said to have been before the question or after
// the answer.
func TestClockMistaken(t *testing.T) {
	var c clock
	sent := epoch.Add(time.Minute)
	received := sent.Add(time.Second)
	require.Equal(t, sent, c.local(sent, received, 0))
	exchange(&c, 0, sent, 0, 0)
	require.Equal(t, sent, c.local(sent, received, 0))
	require.Equal(t, received, c.local(sent, received, 1<<40))
}
