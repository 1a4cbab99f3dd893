package rendezvous

import (
	"context"
	"log/slog"
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

// logLimit logs what the operator should know of and a remote peer may cause at
// will: the first time at once, and then at most once a minute, with how often it
// was since the last line.
type logLimit struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

func (l *logLimit) log(level slog.Level, msg string, args ...any) {
	l.mu.Lock()
	l.count++
	count, now := l.count, time.Now()
	due := now.Sub(l.last) >= logInterval
	if due {
		l.last, l.count = now, 0
	}
	l.mu.Unlock()
	if due {
		log.Log(context.Background(), level, msg, append(args, "times", count)...)
	}
}
