package limit

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Streams limits how many streams of one peer are in service at the same time.
type Streams struct {
	perPeer int // 0: no limit

	mu    sync.Mutex
	count map[peer.ID]int
}

// NewStreams returns a limit of perPeer streams. 0 means no limit.
func NewStreams(perPeer int) *Streams {
	return &Streams{perPeer: perPeer, count: make(map[peer.ID]int)}
}

// Enter counts one more stream of p. It returns false, and counts nothing, if p has as
// many as it may have.
func (s *Streams) Enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perPeer > 0 && s.count[p] >= s.perPeer {
		return false
	}
	s.count[p]++
	return true
}

// Leave says that a stream has ended for which Enter returned true.
func (s *Streams) Leave(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[p] <= 1 {
		delete(s.count, p)
		return
	}
	s.count[p]--
}
