package limit

import (
	"context"
	"fmt"
	"sync"
)

// Concurrent limits how much each peer or each origin does at the same time, such as
// streams in service or large answers.
type Concurrent[K comparable] struct {
	perKey int // 0: no limit

	mu   sync.Mutex
	keys map[K]*places
}

// places are what one peer or origin does now, and who waits for it to end.
type places struct {
	taken   int
	waiting []chan struct{} // closed when a place is handed over
}

// NewConcurrent returns a limit of perKey at the same time. 0 means no limit.
func NewConcurrent[K comparable](perKey int) *Concurrent[K] {
	return &Concurrent[K]{perKey: perKey, keys: make(map[K]*places)}
}

// Enter takes a place of a key. It returns false, and takes none, if all are taken.
func (c *Concurrent[K]) Enter(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enter(c.places(key))
}

// places returns the places of a key. c.mu is held.
func (c *Concurrent[K]) places(key K) *places {
	at := c.keys[key]
	if at == nil {
		at = new(places)
		c.keys[key] = at
	}
	return at
}

// enter takes a place, if one is free. c.mu is held.
func (c *Concurrent[K]) enter(at *places) bool {
	if c.perKey > 0 && at.taken >= c.perKey {
		return false
	}
	at.taken++
	return true
}

// Wait takes a place of a key as soon as one is free. If ctx ends first, it takes none and
// returns an error.
func (c *Concurrent[K]) Wait(ctx context.Context, key K) error {
	c.mu.Lock()
	at := c.places(key)
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
		c.giveUp(key, at, handed)
		return fmt.Errorf("wait for others to end: %w", ctx.Err())
	}
}

// giveUp stops waiting. A place that was handed over meanwhile is passed on.
func (c *Concurrent[K]) giveUp(key K, at *places, handed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range at.waiting {
		if w == handed {
			at.waiting = append(at.waiting[:i], at.waiting[i+1:]...)
			return
		}
	}
	c.leave(key)
}

// Leave gives back a place that Enter or Wait took.
func (c *Concurrent[K]) Leave(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(key)
}

// leave hands a place to whoever has waited longest. c.mu is held.
func (c *Concurrent[K]) leave(key K) {
	at := c.keys[key]
	switch {
	case at == nil:
	case len(at.waiting) > 0:
		close(at.waiting[0])
		at.waiting = at.waiting[1:]
	case at.taken <= 1:
		delete(c.keys, key)
	default:
		at.taken--
	}
}
