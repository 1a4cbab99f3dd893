package points

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multistream"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

// watchdogs are those of the connections to one point.
type watchdogs struct {
	mu     sync.Mutex
	byConn map[network.Conn]*watchdog
}

// of returns the watchdog of a connection, which all requests on it share.
func (s *watchdogs) of(c network.Conn) *watchdog {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.byConn[c]; w != nil {
		return w
	}
	for other := range s.byConn {
		if other.IsClosed() {
			delete(s.byConn, other)
		}
	}
	if s.byConn == nil {
		s.byConn = make(map[network.Conn]*watchdog)
	}
	w := &watchdog{conn: c}
	s.byConn[c] = w
	return w
}

// watchdog closes a connection to a point when it is dead: while requests wait, nothing came on
// it for [probeAfter], and then no answer to a probe. A late answer alone is no reason to close it,
// because the point may make a request wait, and other requests and protocols use the connection.
//
// A point gains nothing from the probe: it can hold a request no longer than requestTimeout, with
// or without it. Until then it gets one stream and some sixty bytes per second, which name a
// protocol that every libp2p host speaks.
type watchdog struct {
	conn network.Conn

	mu        sync.Mutex
	waiting   int           // requests
	probeTime time.Duration // how long the answer to a probe may take
	heard     time.Time     // when something last came, or the first request began to wait
	timer     *time.Timer   // calls check while requests wait; nil until the first one
	probing   *probing      // nil if there is no probe under way
	dead      bool          // whether the connection was closed for being dead
}

// probing is a probe under way.
type probing struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has ended
}

// begin says that a request waits for something to come. End must be called.
func (w *watchdog) begin(probeTime time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probeTime = probeTime
	w.waiting++
	if w.waiting > 1 {
		return
	}
	w.heard = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(probeAfter, w.check)
	} else {
		w.timer.Reset(probeAfter)
	}
}

// end says that a request does not wait any more. The last one ends the probe under way.
func (w *watchdog) end() {
	if p := w.leave(); p != nil {
		p.cancel()
		<-p.ended
	}
}

// leave returns the probe that is of no use any more, or nil.
func (w *watchdog) leave() *probing {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting--
	if w.waiting > 0 {
		return nil
	}
	w.timer.Stop()
	return w.probing
}

// hear says that something has come.
func (w *watchdog) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = time.Now()
}

// closed reports whether the connection was closed because it was dead.
func (w *watchdog) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// check probes the connection if nothing has come for [probeAfter], and closes it if it is dead.
func (w *watchdog) check() {
	ctx, p := w.beginProbe()
	if p == nil {
		return
	}
	defer w.endProbe(p)
	begun := time.Now()
	st, err := probe(ctx, w.conn)
	if w.judge(ctx, begun) {
		logging.Log.Debug("close a dead connection to a rendezvous point", "point", w.conn.RemotePeer(), "connection", w.conn.RemoteMultiaddr(), "error", err)
		_ = w.conn.Close()
	}
	if st != nil {
		_ = st.Reset() // on a dead connection, this could block until that is closed
	}
}

// beginProbe returns the probe to make now, which ctx bounds. It is nil if it is not time for one.
func (w *watchdog) beginProbe() (context.Context, *probing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == 0 {
		return nil, nil
	}
	wait := time.Until(w.heard.Add(probeAfter))
	if w.probing != nil {
		wait = probeAfter
	}
	if wait > 0 {
		w.timer.Reset(wait)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.probeTime)
	w.probing = &probing{cancel: cancel, ended: make(chan struct{})}
	return ctx, w.probing
}

// judge reports whether the connection is dead. Only the end of the probe's time shows that.
// What is heard meanwhile speaks against it, for example a long answer on a slow link.
func (w *watchdog) judge(ctx context.Context, begun time.Time) (dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.waiting == 0:
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && !w.heard.After(begun):
		w.dead = true
	default:
		w.timer.Reset(probeAfter)
	}
	return w.dead
}

// endProbe says that a probe has ended.
func (w *watchdog) endProbe(p *probing) {
	p.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probing = nil
	close(p.ended)
}

// probe asks the other side for libp2p's ping protocol, and returns when it answers or ctx ends.
// Any answer will do. If this host's own resource manager refuses the stream, it returns at once:
// nothing shows then that the connection is dead. The caller resets the stream, which may be nil.
func probe(ctx context.Context, c network.Conn) (network.Stream, error) {
	st, err := c.NewStream(network.WithAllowLimitedConn(ctx, "probe"))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		if st.SetDeadline(time.Unix(1, 0)) != nil { // a mock
			_ = st.Reset()
		}
	})
	defer stop()
	return st, multistream.SelectProtoOrFail(ping.ID, st)
}
