package limit

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Streams limits how many streams of one peer are in service at a time. It is safe for
// concurrent use.
type Streams struct {
	perPeer int

	mu        sync.Mutex
	inService map[peer.ID]int
}

// NewStreams returns a limit of perPeer streams for each peer.
func NewStreams(perPeer int) *Streams {
	return &Streams{perPeer: perPeer, inService: make(map[peer.ID]int)}
}

// Enter counts a stream of a peer and reports whether the limit allows it. If so, the
// caller calls Leave when the stream has ended.
func (s *Streams) Enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inService[p] >= s.perPeer {
		return false
	}
	s.inService[p]++
	return true
}

// Leave counts the end of a stream.
func (s *Streams) Leave(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inService[p]--; s.inService[p] == 0 {
		delete(s.inService, p)
	}
}
