package rendezvous

// What is logged, and how often.

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/gologshim"
)

// log follows go-libp2p's settings (GOLOG_LOG_LEVEL=rendezvous=debug). What a
// remote peer can cause is logged at debug, so that nobody fills a disk from afar,
// or above through a [logLimit].
var log = gologshim.Logger("rendezvous")

// logInterval is the shortest time between two lines of a [logLimit].
const logInterval = time.Minute

// logLimit says when to log what the operator should know of and may happen thousands
// of times a second, since a remote peer can cause it or a disk is full: the first time
// at once, and then at most once a minute.
type logLimit struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

// due counts one more of what is limited. It reports whether to log it, and if so,
// how many there were since the last time.
func (l *logLimit) due() (count int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	now := time.Now()
	if now.Sub(l.last) < logInterval {
		return 0, false
	}
	count, l.last, l.count = l.count, now, 0
	return count, true
}
