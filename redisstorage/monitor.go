package redisstorage

// Visiting the shards.

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// visitInterval is the time between two visits to a shard. So while a shard can be
// reached, its last report is no older than that.
const visitInterval = 250 * time.Millisecond

// monitor visits every shard several times a second. A visit purges what has expired,
// learns how many registrations the shard holds, and finds out whether the shard can be
// reached.
type monitor struct {
	shards  []*shard
	health  *health
	metrics *metrics
	cancel  context.CancelFunc
	loops   sync.WaitGroup // one goroutine per shard
}

// start visits every shard once and goes on in the background until stop. The end of ctx
// ends the first visits only.
func (m *monitor) start(ctx context.Context) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	var first sync.WaitGroup
	for n := range m.shards {
		first.Go(func() { m.visit(ctx, n) })
	}
	first.Wait()
	for n := range m.shards {
		m.loops.Go(func() { m.run(background, n) })
	}
}

// stop ends all visits and returns when they have ended. Repeated calls are no-ops.
func (m *monitor) stop() {
	m.cancel()
	m.loops.Wait()
}

// run visits shard n until ctx ends.
func (m *monitor) run(ctx context.Context, n int) {
	// The first wait is random, so that points that start together do not visit the
	// shard together.
	timer := time.NewTimer(rand.N(visitInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if more := m.visit(ctx, n); more {
			timer.Reset(0)
		} else {
			timer.Reset(visitInterval)
		}
	}
}

// visit visits shard n and reports whether there is more to purge.
func (m *monitor) visit(ctx context.Context, n int) (more bool) {
	more, err := m.shards[n].purge(ctx, "", nil)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.metrics.failures.Add(1)
		m.health.fail(n, err)
	default:
		m.health.succeed(n)
	}
	return more
}
