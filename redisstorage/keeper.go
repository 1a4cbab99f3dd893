package redisstorage

// The keeper looks at each shard a few times a second: it takes out what has ended,
// so that it goes even when nobody adds anything, and learns how much there is and
// whether the shard can be reached.

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// refreshInterval is how often the keeper looks, and so how old at most what it
// knows of a shard is, while the shard can be reached.
const refreshInterval = 250 * time.Millisecond

// purgeBatch is how many registrations a script takes out at most: few enough that
// nobody else waits longer than a millisecond or two.
const purgeBatch = 100

// state is what is known of a shard.
type state struct {
	down  atomic.Bool // it did not answer the keeper
	clock clock

	mu    sync.Mutex
	count int64 // registrations, as last heard,
	as    int64 // and when that was so by the server's clock, in milliseconds
}

// heard learns how many registrations a shard holds. Answers may overtake each
// other: what is older than what is known is no news, unless the clock was set.
func (s *state) heard(h head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := h.now < s.as || h.now == s.as && h.length < s.count
	if !old || s.as-h.now > (5*time.Second).Milliseconds() {
		s.count, s.as = h.length, h.now
	}
}

// held returns how many registrations a shard holds, as last heard.
func (s *state) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// keep looks at shard n until ctx ends.
func (s *Storage) keep(ctx context.Context, n int) {
	// Points that start together need not look together.
	next := time.NewTimer(rand.N(refreshInterval))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if more := s.visit(ctx, n); more {
			next.Reset(0)
		} else {
			next.Reset(refreshInterval)
		}
	}
}

// visit looks at shard n and reports whether there is more to take out of it.
func (s *Storage) visit(ctx context.Context, n int) (more bool) {
	purged, err := s.purge(ctx, n, "", nil)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.markDown(n, err)
	default:
		s.markUp(n)
	}
	return err == nil && purged == purgeBatch
}

// purge takes out what has ended, a batch of it; and of a namespace what was met at
// positions of its array in spite of having ended long before.
func (s *Storage) purge(ctx context.Context, n int, ns string, positions []int) (purged int64, err error) {
	sh := s.shards[n]
	args := []string{sh.prefix, strconv.Itoa(purgeBatch), ns}
	for _, pos := range positions {
		args = append(args, strconv.Itoa(pos))
	}
	head, rest, err := s.call(ctx, n, purgeScript, []string{sh.index()}, args...)
	if err != nil {
		return 0, err
	}
	s.states[n].heard(head)
	if purged, err = rest.AsInt64(); err != nil {
		return 0, err
	}
	s.metrics.purged.Add(purged)
	return purged, nil
}

// markDown and markUp keep track of which shards answer. However many are lost at
// once, the log has one line of it, and one when all are back.
func (s *Storage) markDown(n int, err error) {
	s.metrics.failures.Add(1)
	if s.states[n].down.CompareAndSwap(false, true) && s.down.Add(1) == 1 {
		log.Warn("servers cannot be reached", "shards", len(s.shards), "error", err)
	}
}

func (s *Storage) markUp(n int) {
	if s.states[n].down.CompareAndSwap(true, false) && s.down.Add(-1) == 0 {
		log.Info("servers can be reached again")
	}
}
