package rendezvous

// What happens on the host that makes another request right, now: a point is met
// or comes back, the host's addresses change, the machine wakes up. Subscriptions
// last as long as the call that needs them.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

const (
	// settle is how long to wait after an event for those that come with it: a new
	// network brings addresses one by one.
	settle = 250 * time.Millisecond
	// sleepCheck is how often to look whether the machine has slept.
	sleepCheck = time.Second
	// sleepLeast is how far the wall clock must have run ahead of Go's monotonic
	// one, which stands still while a machine sleeps, for that to have been sleep.
	sleepLeast = 2 * time.Second
)

func (p *points) subscribe() (event.Subscription, error) {
	sub, err := p.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtLocalAddressesUpdated),
	}, eventbus.Name("rendezvous"), eventbus.BufSize(64))
	if err != nil {
		return nil, fmt.Errorf("subscribe to the host's events: %w", err)
	}
	return sub, nil
}

// await returns when a point is known, or no longer waits for one.
func (p *points) await(ctx context.Context, patience time.Duration) {
	if len(p.known()) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sub, err := p.subscribe()
	if err != nil {
		log.Warn("a rendezvous point that the host meets is noticed late", "error", err)
		return
	}
	defer func() { _ = sub.Close() }()
	for len(p.scan()) == 0 {
		for concerned := false; !concerned; {
			select {
			case e := <-sub.Out():
				concerned = p.concerns(e)
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow calls wake a moment after something happened that may call for a request,
// once for all that happens together, and says whether the machine has slept. It
// returns when ctx ends, and closes sub.
func (p *points) follow(ctx context.Context, sub event.Subscription, wake func(slept bool)) {
	defer func() { _ = sub.Close() }()
	ticks := time.NewTicker(sleepCheck)
	defer ticks.Stop()
	awake := p.newSleepWatch()
	var settled <-chan time.Time
	for {
		select {
		case e := <-sub.Out():
			if p.concerns(e) && settled == nil {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			wake(false)
		case <-ticks.C:
			if awake.slept() {
				wake(true)
			}
		case <-ctx.Done():
			return
		}
	}
}

// concerns reports whether an event may call for a request. A point that it shows
// to be there is forgiven what it failed in before.
func (p *points) concerns(e any) bool {
	switch e := e.(type) {
	case event.EvtLocalAddressesUpdated:
		return true
	case event.EvtPeerIdentificationCompleted:
		if !slices.Contains(e.Protocols, RendezvousID_v001) {
			return false
		}
		p.forgive(e.Peer)
		p.scanSoon()
		return true
	case event.EvtPeerProtocolsUpdated:
		if !slices.Contains(e.Added, RendezvousID_v001) {
			return false
		}
		p.forgive(e.Peer)
		p.scanSoon()
		return true
	case event.EvtPeerConnectednessChanged:
		return e.Connectedness != network.NotConnected && p.is(e.Peer)
	default:
		return false
	}
}

// scanSoon has the next look at the points ask the peerstore.
func (p *points) scanSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scanned = time.Time{}
}

// sleepWatch tells by two clocks whether the machine has slept.
type sleepWatch struct {
	wall    func() time.Time
	began   time.Time // on the wall clock
	running time.Time // on the monotonic clock
	ahead   time.Duration
}

func (p *points) newSleepWatch() *sleepWatch {
	return &sleepWatch{wall: p.wall, began: p.wall(), running: time.Now()}
}

// slept reports whether the machine has slept since the last call.
func (w *sleepWatch) slept() bool {
	ahead := w.wall().Sub(w.began) - time.Since(w.running)
	slept := ahead-w.ahead >= sleepLeast
	w.ahead = ahead
	return slept
}
