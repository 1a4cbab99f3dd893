package rendezvous

// Watching who joins a namespace and who leaves it.

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

// A namespace is asked for again after minWatchInterval while peers come and go. The
// interval grows by half each time nothing has changed. maxWatchInterval is under half a
// TTL: a peer that stays is seen again before its registration ends. If no point answers,
// the next attempt comes when the backoff of one ends.
const (
	minWatchInterval = time.Second
	maxWatchInterval = 8 * time.Second
	// expirySlack is how long after the end of a registration its point is asked again:
	// TTLs are rounded, and the answer takes time.
	expirySlack = 100 * time.Millisecond
)

// EventType says what happened to a peer in a namespace.
type EventType int

// The event types.
const (
	Joined EventType = iota + 1 // the peer is there now
	Moved                       // the peer has other addresses now
	Left                        // the peer's registrations have ended
)

func (t EventType) String() string {
	switch t {
	case Joined:
		return "joined"
	case Moved:
		return "moved"
	case Left:
		return "left"
	default:
		return "unknown"
	}
}

// Event is something that happened to a peer in a namespace. The receiver owns it.
type Event struct {
	Type EventType
	Peer peer.AddrInfo // without addresses if the peer left
}

// watcher is one call of Watch.
type watcher struct {
	*asker
	namespace string
	out       chan Event
	woken     chan struct{} // holds a token when a point may have come
	changed   chan struct{} // holds a token when a point has answered
	presence  *points.Presence
	told      map[peer.ID]uint64 // what the reader knows: the peers, with a hash of their addresses
	seed      maphash.Seed
}

// watch reports who joins and leaves a namespace until ctx ends.
func watch(ctx context.Context, a *asker, ns string) (<-chan Event, error) {
	w := &watcher{
		asker:     a,
		namespace: ns,
		out:       make(chan Event),
		woken:     make(chan struct{}, 1),
		changed:   make(chan struct{}, 1),
		presence:  points.NewPresence(),
		told:      make(map[peer.ID]uint64),
		seed:      maphash.MakeSeed(),
	}
	events, err := a.points.Listen(func(bool) { notify(w.woken) })
	if err != nil {
		return nil, err
	}
	var polling sync.WaitGroup
	polling.Go(func() { w.poll(ctx) })
	go func() {
		defer close(w.out)
		w.report(ctx)
		polling.Wait()
		<-events.Stop()
	}()
	return w.out, nil
}

// poll asks the points until ctx ends, more often while peers come and go.
func (w *watcher) poll(ctx context.Context) {
	interval := minWatchInterval
	version := w.sightings().Version(w.namespace)
	for ctx.Err() == nil {
		answered := w.askOnce(ctx)
		wait := points.RetryAfter(w.points.Known()...)
		if answered {
			interval = min(interval*3/2, maxWatchInterval)
			if now := w.sightings().Version(w.namespace); now != version {
				version, interval = now, minWatchInterval
			}
			wait = points.Jitter(interval)
			if until := w.sightings().NextExpiry(w.namespace); !until.IsZero() {
				// Ask whether that peer is still there.
				wait = min(wait, max(time.Until(until)+expirySlack, minWatchInterval))
			}
		}
		if w.rest(ctx, wait) {
			interval = minWatchInterval
		}
	}
}

// rest waits before the next query, and reports whether the watcher was woken. That makes the
// wait shorter, but not shorter than minWatchInterval: any peer can wake the watcher, again and
// again.
func (w *watcher) rest(ctx context.Context, wait time.Duration) (woken bool) {
	ended := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return woken
		case <-w.woken:
			woken = true
			timer.Reset(min(wait, minWatchInterval) - time.Since(ended))
		case <-ctx.Done():
			return woken
		}
	}
}

func (w *watcher) sightings() *points.Sightings { return w.points.Sightings() }

// askOnce asks the points once, records what each answers, and reports whether one did.
func (w *watcher) askOnce(ctx context.Context) (answered bool) {
	_, err := w.points.Ask(ctx, w.namespace, w.redundancy, 1, func(ctx context.Context, point *points.Point) error {
		asked := time.Now()
		seen, all, err := w.see(ctx, point, w.namespace, mostSeen)
		switch {
		case err != nil:
			w.presence.Failed(point.ID())
			return err
		case all:
			w.presence.AnsweredAll(point.ID(), asked, seen)
		default:
			w.presence.Answered(point.ID(), asked, seen)
		}
		notify(w.changed)
		return nil
	})
	if ctx.Err() == nil || err == nil {
		w.silence.Searched(w.namespace, err)
	}
	if err != nil {
		w.presence.NoneAnswered()
		logging.Log.Debug("no rendezvous point answered", "namespace", w.namespace, "error", err)
	}
	notify(w.changed)
	return err == nil
}

// report sends the differences between what the reader knows and what was seen, at the
// reader's pace.
func (w *watcher) report(ctx context.Context) {
	var pending []Event
	for {
		var out chan<- Event // nil while there is nothing to report
		var next Event
		if len(pending) > 0 {
			out, next = w.out, pending[0]
			next.Peer.Addrs = slices.Clone(next.Peer.Addrs)
		}
		select {
		case out <- next:
			w.setTold(pending[0])
			pending = pending[1:]
			continue
		case <-w.changed:
		case <-ctx.Done():
			return
		}
		pending = w.differences()
	}
}

// setTold records what the reader has been told.
func (w *watcher) setTold(e Event) {
	if e.Type == Left {
		delete(w.told, e.Peer.ID)
	} else {
		w.told[e.Peer.ID] = w.hash(e.Peer.Addrs)
	}
}

// hash returns a hash of addresses. The addresses themselves would take kilobytes for each peer,
// long after the point that made them up has been forgotten.
func (w *watcher) hash(addrs []ma.Multiaddr) uint64 {
	var h maphash.Hash
	h.SetSeed(w.seed)
	for _, a := range addrs {
		b := a.Bytes()
		maphash.WriteComparable(&h, len(b))
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// differences returns what the reader does not know yet. Peers that left come first, so
// that the memory of what the reader was told never grows beyond what was seen.
func (w *watcher) differences() []Event {
	live := w.sightings().Live(w.namespace, 0)
	present := make(map[peer.ID]struct{}, len(live))
	var joined []Event
	for _, s := range live {
		present[s.Peer.ID] = struct{}{}
		hash, told := w.told[s.Peer.ID]
		switch {
		case !told:
			joined = append(joined, Event{Type: Joined, Peer: s.Peer})
		case hash != w.hash(s.Peer.Addrs):
			joined = append(joined, Event{Type: Moved, Peer: s.Peer})
		}
	}
	var left []Event
	asked := w.askedPoints()
	w.presence.Removed(w.points.Removed)
	for id := range w.told {
		if _, there := present[id]; !there && w.presence.Left(id, asked) {
			left = append(left, Event{Type: Left, Peer: peer.AddrInfo{ID: id}})
		}
	}
	w.presence.Forget(func(id peer.ID) bool {
		_, there := present[id]
		_, told := w.told[id]
		return there || told
	})
	return append(left, joined...)
}

// askedPoints returns a function that reports whether a point is one that the peers of the
// namespace prefer. A point that is gone is not.
func (w *watcher) askedPoints() func(peer.ID) bool {
	preferred := slices.DeleteFunc(w.points.Preferred(w.namespace, w.redundancy), (*points.Point).Gone)
	return func(id peer.ID) bool {
		return slices.ContainsFunc(preferred, func(p *points.Point) bool { return p.ID() == id })
	}
}
