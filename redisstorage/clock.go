package redisstorage

// The difference between a server's clock and the clock of this process.

import (
	"sync"
	"time"
)

// clock estimates the difference between a server's clock and the clock of this
// process. Deadlines are by the server's clock alone. The estimate only serves to tell
// how much of a round trip passed before the server read its clock. It is wrong for a
// moment after a clock was set or another server has taken over, so the results are
// limited to what the round trip itself allows.
//
// The zero value knows nothing yet. All methods may be called concurrently.
type clock struct {
	mu    sync.Mutex
	known bool
	// The difference lies between low and high. It is the server's time since 1970
	// minus the time of this process since epoch.
	low, high  time.Duration
	observedAt time.Time // when low and high were computed
}

// epoch is the zero of the clock of this process.
var epoch = time.Now()

// drift is the assumed upper bound of how fast two clocks drift apart.
const drift = 200e-6

// observe updates the estimate with an exchange: between sent and received, the server
// read the time server, in milliseconds.
func (c *clock) observe(sent, received time.Time, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := time.Duration(server) * time.Millisecond
	low, high := read-received.Sub(epoch), read+time.Millisecond-sent.Sub(epoch)
	if c.known {
		drifted := time.Duration(float64(received.Sub(c.observedAt).Abs()) * drift)
		c.low, c.high = max(c.low-drifted, low), min(c.high+drifted, high)
	}
	if !c.known || c.low > c.high { // bounds that contradict each other: a clock was set
		c.low, c.high = low, high
	}
	c.known, c.observedAt = true, received
}

// server returns the earliest time, in milliseconds, that the server's clock can show at
// a time of this process. It returns 0 if nothing has been observed.
func (c *clock) server(at time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return 0
	}
	return int64((at.Sub(epoch) + c.low) / time.Millisecond)
}

// local returns the earliest time of this process at which the server can have read the
// time server, in milliseconds. The result is between sent and received.
func (c *clock) local(sent, received time.Time, server int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return sent
	}
	at := epoch.Add(time.Duration(server)*time.Millisecond - c.high)
	switch {
	case at.Before(sent):
		return sent
	case at.After(received):
		return received
	default:
		return at
	}
}
