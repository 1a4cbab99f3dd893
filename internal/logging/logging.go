// Package logging has the logger that all packages of the library share, and a limit
// for lines that could come thousands of times a second.
//
// What a remote peer can cause is logged at level debug, or above it through a [Limit],
// so that nobody can fill a disk from afar.
package logging

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/gologshim"
)

// Log follows go-libp2p's settings, such as GOLOG_LOG_LEVEL=rendezvous=debug. Tests
// may replace it while nothing else runs.
var Log = gologshim.Logger("rendezvous")

// interval is the shortest time between two lines of a Limit.
const interval = time.Minute

// Limit decides when to log something that operators should know, but that may happen
// often because a remote peer can cause it or because a disk is full: the first time at
// once, and then at most once a minute. The zero Limit is ready for use. It may be used
// by many goroutines at the same time, and must not be copied.
type Limit struct {
	mu    sync.Mutex
	last  time.Time // when a line was due
	count int       // occurrences since then
}

// Due counts one occurrence. If it is time for a line, Due returns true and the
// number of occurrences since the last line, this one included.
func (l *Limit) Due() (count int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	now := time.Now()
	if now.Sub(l.last) < interval {
		return 0, false
	}
	count, l.last, l.count = l.count, now, 0
	return count, true
}
