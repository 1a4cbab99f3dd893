package limit

import (
	"context"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Concurrent limits how much each peer does at the same time, such as streams in service
// or large answers.
type Concurrent struct {
	perPeer int // 0: no limit

	mu    sync.Mutex
	peers map[peer.ID]*places
}

// places are what one peer does now, and who waits for it to end.
type places struct {
	taken   int
	waiting []chan struct{} // closed when the place of another is handed over
}

// NewConcurrent returns a limit of perPeer at the same time. 0 means no limit.
func NewConcurrent(perPeer int) *Concurrent {
	return &Concurrent{perPeer: perPeer, peers: make(map[peer.ID]*places)}
}

// Enter takes a place of p. It returns false, and takes none, if all are taken.
func (c *Concurrent) Enter(p peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enter(c.places(p))
}

// places returns the places of p. c.mu is held.
func (c *Concurrent) places(p peer.ID) *places {
	at := c.peers[p]
	if at == nil {
		at = new(places)
		c.peers[p] = at
	}
	return at
}

// enter takes a place, if one is free. c.mu is held.
func (c *Concurrent) enter(at *places) bool {
	if c.perPeer > 0 && at.taken >= c.perPeer {
		return false
	}
	at.taken++
	return true
}

// Wait takes a place of p, as soon as one is free. It returns an error, and takes none, if
// ctx ends before.
func (c *Concurrent) Wait(ctx context.Context, p peer.ID) error {
	c.mu.Lock()
	at := c.places(p)
	if c.enter(at) {
		c.mu.Unlock()
		return nil
	}
	handed := make(chan struct{})
	at.waiting = append(at.waiting, handed)
	c.mu.Unlock()
	select {
	case <-handed:
		return nil
	case <-ctx.Done():
		c.giveUp(p, at, handed)
		return fmt.Errorf("wait for other requests of the peer: %w", ctx.Err())
	}
}

// giveUp stops waiting. A place that was handed over meanwhile is passed on.
func (c *Concurrent) giveUp(p peer.ID, at *places, handed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range at.waiting {
		if w == handed {
			at.waiting = append(at.waiting[:i], at.waiting[i+1:]...)
			return
		}
	}
	c.leave(p)
}

// Leave gives back a place that Enter or Wait took.
func (c *Concurrent) Leave(p peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(p)
}

// leave hands a place to whoever has waited longest. c.mu is held.
func (c *Concurrent) leave(p peer.ID) {
	at := c.peers[p]
	switch {
	case at == nil:
	case len(at.waiting) > 0:
		close(at.waiting[0])
		at.waiting = at.waiting[1:]
	case at.taken <= 1:
		delete(c.peers, p)
	default:
		at.taken--
	}
}
