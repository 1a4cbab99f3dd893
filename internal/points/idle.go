package points

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// MaxIdleStreams bounds the streams to a point that are kept open between requests. As
	// many are kept as were in use at the same time within the last idleTime, which is one
	// or two unless the host is in many namespaces.
	MaxIdleStreams = 16
	// idleTime is how long a stream is kept: points let one rest for 30 seconds.
	idleTime = 25 * time.Second
	// maxBrokenStreams is how many kept streams in a row may turn out to be broken
	// before no more are kept: some points serve one request per stream.
	maxBrokenStreams = 3
)

// idleStreams are the streams to one point on which a request was answered, and which the
// next requests use. A timer closes those that nobody uses, so there is nothing to close.
type idleStreams struct {
	mu      sync.Mutex
	streams []*keptStream // the one used last is the last
	broken  int           // kept streams in a row that were broken
	// expiry calls expire when the first of streams has been kept for idleTime, or earlier.
	// It is nil before the first stream is kept, and after a call that left none. A timer for each stream would be
	// set and stopped with each request, which costs both ends 2 % of a REGISTER.
	expiry *time.Timer
}

// keptStream is a stream on which a request was answered.
type keptStream struct {
	network.Stream
	since time.Time // since when nobody uses it
	// timeout resets the stream. A context with a deadline for each request takes a twentieth
	// of a search (DISCOVER 50 with the library).
	timeout *time.Timer
}

// take returns the stream that was used last, of those on connections that are usable, or
// nil. It closes those on other connections.
func (s *idleStreams) take(usable func(network.Conn) bool) *keptStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.streams) > 0 {
		last := s.streams[len(s.streams)-1]
		s.streams = s.streams[:len(s.streams)-1]
		if usable(last.Conn()) {
			return last
		}
		_ = last.Reset()
	}
	return nil
}

// put keeps a stream for the next request, or closes it.
func (s *idleStreams) put(st network.Stream) {
	if !s.keep(st) {
		_ = st.Close()
	}
}

func (s *idleStreams) keep(st network.Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == MaxIdleStreams || s.broken >= maxBrokenStreams {
		return false
	}
	kept, again := st.(*keptStream)
	if !again {
		kept = &keptStream{Stream: st, timeout: time.AfterFunc(requestTimeout, func() { _ = st.Reset() })}
		kept.timeout.Stop()
	}
	kept.since = time.Now()
	s.streams = append(s.streams, kept)
	if s.expiry == nil {
		s.expiry = time.AfterFunc(idleTime, s.expire)
	}
	return true
}

// expire closes the streams that were kept for idleTime.
func (s *idleStreams) expire() {
	for _, st := range s.expired() {
		_ = st.Close()
	}
}

// expired removes the streams that were kept for idleTime, and returns them.
func (s *idleStreams) expired() (expired []*keptStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.streams) && time.Since(s.streams[n].since) >= idleTime {
		n++
	}
	expired = slices.Clone(s.streams[:n])
	s.streams = slices.Delete(s.streams, 0, n)
	s.expiry = nil
	if len(s.streams) > 0 {
		s.expiry = time.AfterFunc(idleTime-time.Since(s.streams[0].since), s.expire)
	}
	return expired
}

// used records whether a request on a kept stream succeeded.
func (s *idleStreams) used(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken++; ok {
		s.broken = 0
	}
}
