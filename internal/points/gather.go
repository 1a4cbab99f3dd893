package points

import (
	"context"
	"sync"
	"time"
)

const (
	// gatherTime is how long the first one of a group waits for the others. Refreshes that
	// are due at the same time come within a few milliseconds.
	gatherTime = 5 * time.Millisecond
	// maxGroup bounds a group, so that those in it do not wait long for each other.
	maxGroup = 64
	// groupTimeout bounds what is done for a group, because all in it wait for the slowest, and
	// asking alone turns to other points when one is slow.
	groupTimeout = 1500 * time.Millisecond
)

// Gatherer gathers what comes at the same time, so that one goroutine does it together. All
// methods may be called at the same time.
type Gatherer[T any] struct {
	do func(ctx context.Context, all []T)

	mu   sync.Mutex
	open *group[T] // others can join it; nil if there is none
}

type group[T any] struct {
	all    []T
	cancel context.CancelFunc // ends the context
	done   chan struct{}      // closed when all was done
}

// NewGatherer returns a Gatherer. It calls do with each group, in the goroutine of the first
// one in it. The context lasts for groupTimeout, and ends when that of any one in the
// group does.
func NewGatherer[T any](do func(ctx context.Context, all []T)) *Gatherer[T] {
	return &Gatherer[T]{do: do}
}

// Do does one together with others, and returns when that has ended.
func (g *Gatherer[T]) Do(ctx context.Context, one T) {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	all, first := g.join(one, cancel)
	if !first {
		select {
		case <-all.done:
		case <-ctx.Done():
			all.cancel()
			<-all.done
		}
		return
	}
	defer close(all.done)
	work, stop := context.WithTimeout(work, groupTimeout)
	defer stop()
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-work.Done():
	}
	g.close(all)
	g.do(work, all.all)
}

// join adds one to the open group, or to a new one of which it is the first, and whose context
// cancel ends.
func (g *Gatherer[T]) join(one T, cancel context.CancelFunc) (all *group[T], first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all = g.open
	if first = all == nil; first {
		all = &group[T]{cancel: cancel, done: make(chan struct{})}
		g.open = all
	}
	if all.all = append(all.all, one); len(all.all) == maxGroup {
		g.open = nil
	}
	return all, first
}

// close lets nobody join a group any more.
func (g *Gatherer[T]) close(all *group[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == all {
		g.open = nil
	}
}
