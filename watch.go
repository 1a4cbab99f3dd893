package rendezvous

// Watching who joins a namespace and who leaves it.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A namespace is asked for again after minWatchInterval while it changes, and half
// as long again each time that it does not. maxWatchInterval is under half a TTL:
// a peer that stays is seen again before its registration ends.
const (
	minWatchInterval = time.Second
	maxWatchInterval = 8 * time.Second
)

// Event says that a peer has joined a namespace, or left it.
type Event struct {
	Peer peer.AddrInfo // without addresses where it left
	// Joined is true of a peer that is there now. A peer whose addresses change
	// joins again, with the new ones, without having left.
	Joined bool
}

// Watch tells who joins namespace ns and who leaves it, beginning with those who
// are there, until ctx ends; the channel is closed then. The host itself is left
// out. It asks the namespace's points about once a second while there is change, and
// up to every eighth while there is none. A peer has left when its registrations
// have ended, which is up to one TTL after it is gone.
//
// A reader may take its time: what happens meanwhile is kept as the difference
// between what it was told and what is now, so that a peer that came and went is
// not mentioned. In a namespace of more peers than an answer holds
// ([MaxDiscoverLimit]), where each answer is another sample, peers that are still
// there may leave and join. The error is of what was asked for, and comes at once.
func (c *Client) Watch(ctx context.Context, ns string) (<-chan Event, error) {
	if err := c.check(ns); err != nil {
		return nil, fmt.Errorf("watch %q: %w", ns, err)
	}
	sub, err := c.points.subscribe()
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", ns, err)
	}
	w := &watcher{
		client:    c,
		namespace: ns,
		out:       make(chan Event),
		woken:     make(chan struct{}, 1),
		changed:   make(chan struct{}, 1),
		seen:      newSightings(),
		told:      make(map[peer.ID]uint64),
	}
	var running sync.WaitGroup
	running.Go(func() { c.points.follow(ctx, sub, func(bool) { signal(w.woken) }) })
	running.Go(func() { w.poll(ctx) })
	go func() {
		defer close(w.out)
		w.tell(ctx)
		running.Wait()
	}()
	return w.out, nil
}

// watcher is one call of Watch.
type watcher struct {
	client    *Client
	namespace string
	out       chan Event
	woken     chan struct{}      // holds a token when a point may have come
	changed   chan struct{}      // holds a token when seen has changed
	told      map[peer.ID]uint64 // what the reader knows: who is there, by which record

	mu    sync.Mutex
	seen  sightings
	moved bool // whether anybody came or went since points were last asked
}

// poll asks the points, the more often the more happens, until ctx ends.
func (w *watcher) poll(ctx context.Context) {
	interval := minWatchInterval
	for ctx.Err() == nil {
		w.ask(ctx)
		interval = min(interval*3/2, maxWatchInterval)
		if w.hasMoved() {
			interval = minWatchInterval
		}
		timer := time.NewTimer(jitter(interval))
		select {
		case <-timer.C:
		case <-w.woken:
			interval = minWatchInterval
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// ask asks the points once, and notes what each answers as it does.
func (w *watcher) ask(ctx context.Context) {
	c := w.client
	_, err := c.points.ask(ctx, w.namespace, c.config.redundancy, 1, func(ctx context.Context, point peer.ID) error {
		found, err := c.Discover(ctx, point, w.namespace, MaxDiscoverLimit)
		if err == nil {
			w.note(point, found)
		}
		return err
	})
	if err != nil {
		log.Debug("no rendezvous point answered", "namespace", w.namespace, "error", err)
	}
}

func (w *watcher) note(point peer.ID, found []Registration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved = w.seen.expire() || w.moved
	for _, r := range found {
		if r.Peer.ID == w.client.host.ID() {
			continue
		}
		if _, news := w.seen.note(point, r); news {
			w.moved = true
		}
	}
	signal(w.changed)
}

// hasMoved reports whether anybody came or went since it was last called.
func (w *watcher) hasMoved() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.moved
	w.moved = false
	return moved
}

// change is an event, and the record that it is about.
type change struct {
	Event
	seq uint64
}

// tell brings the reader's knowledge up to date, at the reader's pace.
func (w *watcher) tell(ctx context.Context) {
	expiry := time.NewTimer(maxWatchInterval)
	defer expiry.Stop()
	var pending []change
	for {
		var out chan<- Event // nil while there is nothing to tell
		var next change
		if len(pending) > 0 {
			out, next = w.out, pending[0]
		}
		select {
		case out <- next.Event:
			w.believes(next)
			pending = pending[1:]
			continue
		case <-w.changed:
		case <-expiry.C:
		case <-ctx.Done():
			return
		}
		var until time.Time
		if pending, until = w.differences(); !until.IsZero() {
			expiry.Reset(time.Until(until))
		}
	}
}

// believes notes what the reader was told.
func (w *watcher) believes(c change) {
	if c.Joined {
		w.told[c.Peer.ID] = c.seq
	} else {
		delete(w.told, c.Peer.ID)
	}
}

// differences returns what the reader does not know yet, who left before who
// joined, so that what it was told never grows beyond what was seen; and when the
// next registration ends.
func (w *watcher) differences() (pending []change, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved = w.seen.expire() || w.moved
	for id := range w.told {
		if _, there := w.seen.peers[id]; !there {
			pending = append(pending, change{Event: Event{Peer: peer.AddrInfo{ID: id}}})
		}
	}
	for id, seen := range w.seen.peers {
		if seq, told := w.told[id]; !told || seq != seen.seq {
			info := peer.AddrInfo{ID: id, Addrs: slices.Clone(seen.info.Addrs)}
			pending = append(pending, change{Event{Peer: info, Joined: true}, seen.seq})
		}
	}
	return pending, w.seen.next()
}
