package points

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

const (
	// settleTime is how long to wait after an event for those that come with it: a new
	// network brings its addresses one by one.
	settleTime = 250 * time.Millisecond
	// sleepInterval is how often to look whether the machine has slept.
	sleepInterval = time.Second
)

// wakeups says when something has happened that may call for a request now: the host has
// met a point or a point came back, the host's addresses or the named points have
// changed, the machine's addresses have, or it has slept. It must be run, once.
type wakeups struct {
	source       source
	events       event.Subscription
	namedChanged <-chan struct{}
	sleep        *sleepWatch
	kernel       *kernelWatch
}

// source is where wake-ups come from.
type source interface {
	// noticed handles an event of the host, and reports whether a request may be
	// needed because of it.
	noticed(e any) bool
	// settled is called after something has happened, before the wake-up.
	settled()
	// namedChange returns a channel that is closed when other points are named.
	namedChange() <-chan struct{}
}

func newWakeups(c *Config, s source) (*wakeups, error) {
	events, err := c.Host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtLocalAddressesUpdated),
	}, eventbus.Name("rendezvous"), eventbus.BufSize(64))
	if err != nil {
		return nil, fmt.Errorf("subscribe to the host's events: %w", err)
	}
	return &wakeups{source: s, events: events, namedChanged: s.namedChange(), sleep: newSleepWatch(c.WallClock), kernel: newKernelWatch(c.Interfaces)}, nil
}

// run calls wake a moment after something has happened, once for all that happens
// together, and says whether it was that the machine has slept. It returns when stop is
// closed.
func (w *wakeups) run(stop <-chan struct{}, wake func(slept bool)) {
	defer func() { _ = w.events.Close() }()
	ticks := time.NewTicker(sleepInterval)
	defer ticks.Stop()
	var settled <-chan time.Time
	for {
		happened := false
		select {
		case e := <-w.events.Out():
			happened = w.source.noticed(e)
		case <-w.namedChanged:
			w.namedChanged = w.source.namedChange()
			happened = true
		case <-settled:
			settled = nil
			w.source.settled()
			wake(false)
		case <-ticks.C:
			if w.sleep.slept() {
				wake(true)
			}
			happened = w.kernel.moved()
		case <-stop:
			return
		}
		if happened && settled == nil {
			settled = time.After(settleTime)
		}
	}
}
