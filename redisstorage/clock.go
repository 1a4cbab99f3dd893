package redisstorage

// How far a server's clock is from this process's.

import (
	"sync"
	"time"
)

// clock knows between which bounds the difference of a server's clock and this
// process's lies. Only the server's clock counts; this is to tell how long a
// message was under way to it, and it may be wrong for a moment when one of the
// clocks was set or another server has taken over. So it corrects what was measured
// by no more than what the measurement leaves open.
type clock struct {
	mu          sync.Mutex
	known       bool
	least, most time.Duration // server's time, as a time since 1970, minus ours since an epoch
	at          time.Time     // when the bounds were true
}

// epoch is any moment of this process, for what its clock says to be a number.
var epoch = time.Now()

// drift is by how much two clocks may part, per time.
const drift = 200e-6

// observe learns that a server said it was server, in milliseconds, some time
// between sent and received.
func (c *clock) observe(sent, received time.Time, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := time.Duration(server) * time.Millisecond
	least, most := said-received.Sub(epoch), said+time.Millisecond-sent.Sub(epoch)
	if c.known {
		apart := time.Duration(float64(received.Sub(c.at).Abs()) * drift)
		c.least, c.most = max(c.least-apart, least), min(c.most+apart, most)
	}
	if !c.known || c.least > c.most {
		c.least, c.most = least, most // a clock was set
	}
	c.known, c.at = true, received
}

// server returns what a server's clock, in milliseconds, says at least at a moment of
// this process, or 0 where that is not known.
func (c *clock) server(at time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return 0
	}
	return int64((at.Sub(epoch) + c.least) / time.Millisecond)
}

// local returns when, as far as is known but not before sent and not after
// received, a server said it was server, in milliseconds.
func (c *clock) local(sent, received time.Time, server int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return sent
	}
	at := epoch.Add(time.Duration(server)*time.Millisecond - c.most)
	switch {
	case at.Before(sent):
		return sent
	case at.After(received):
		return received
	default:
		return at
	}
}
