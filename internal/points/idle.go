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
// next requests use. A timer closes each of them, so there is nothing to close.
type idleStreams struct {
	mu      sync.Mutex
	streams []idleStream // the one used last is the last
	broken  int          // kept streams in a row that were broken
}

type idleStream struct {
	network.Stream
	expiry *time.Timer
}

// take returns the stream that was used last, of those on connections that are usable, or
// nil. It closes those on other connections.
func (s *idleStreams) take(usable func(network.Conn) bool) network.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.streams) > 0 {
		last := s.streams[len(s.streams)-1]
		s.streams = s.streams[:len(s.streams)-1]
		last.expiry.Stop()
		if usable(last.Conn()) {
			return last.Stream
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
	s.streams = append(s.streams, idleStream{st, time.AfterFunc(idleTime, func() { s.expire(st) })})
	return true
}

// expire closes a stream unless it was taken meanwhile.
func (s *idleStreams) expire(st network.Stream) {
	s.mu.Lock()
	is := func(other idleStream) bool { return other.Stream == st }
	i := slices.IndexFunc(s.streams, is)
	if i >= 0 {
		s.streams = slices.Delete(s.streams, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		_ = st.Close()
	}
}

// used records whether a request on a kept stream succeeded.
func (s *idleStreams) used(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken++; ok {
		s.broken = 0
	}
}
