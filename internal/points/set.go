package points

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/ifaddrs"
)

// ErrNoPoints means that there is no point to ask.
var ErrNoPoints = errors.New("no rendezvous point known: name one with WithPoints, or connect the host to one")

// scanInterval is how long the peerstore's answer about points is used: it may know ten
// thousand peers, and gossipsub asks every second for every topic.
const scanInterval = time.Second

// Set is the points that a host knows. The host itself is never one of them. Its methods
// may be called from many goroutines at the same time. It has nothing to close.
type Set struct {
	config    Config
	sightings *Sightings
	listeners listeners

	scanning sync.Mutex // held while the peerstore is scanned

	mu           sync.Mutex
	anySpeaker   bool
	points       map[peer.ID]*Point // replaced, never written to
	others       map[peer.ID]*Point // peers that were asked and are not in points
	scanned      time.Time          // when points was last read from the peerstore
	outdated     bool               // whether the peerstore has changed since
	namedChanged chan struct{}      // closed and replaced when other points are named
}

// New returns the points of a host. It sends nothing yet.
func New(c Config) *Set {
	if c.Interfaces == nil {
		c.Interfaces = ifaddrs.Get
	}
	if c.WallClock == nil {
		c.WallClock = func() time.Time { return time.Now().Round(0) }
	}
	s := &Set{config: c, sightings: newSightings(), others: make(map[peer.ID]*Point), namedChanged: make(chan struct{})}
	if c.AnySpeaker {
		s.anySpeaker = true
	} else {
		s.SetNamed(c.Named)
	}
	return s
}

// SetNamed replaces all points, named or found by their protocol, with those named here.
// If none is named, there are no points. A point that stays in the set keeps its backoff.
// What the others have said is forgotten. A point may be named several times, with an address
// each.
func (s *Set) SetNamed(named []peer.AddrInfo) {
	addrs := make(map[peer.ID][]ma.Multiaddr)
	for _, n := range named {
		if n.ID != s.config.Host.ID() { // a host cannot open a stream to itself
			addrs[n.ID] = append(addrs[n.ID], n.Addrs...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	points := make(map[peer.ID]*Point, len(addrs))
	for id, a := range addrs {
		p := s.points[id]
		if p == nil {
			p = s.others[id]
		}
		if p == nil {
			p = newPoint(&s.config, id)
		}
		p.setAddrs(a)
		points[id] = p
	}
	s.points, s.anySpeaker = points, false
	s.sightings.setNamed(maps.Keys(points))
	close(s.namedChanged)
	s.namedChanged = make(chan struct{})
}

// Removed reports whether points are named and this peer is none of them.
func (s *Set) Removed(id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.anySpeaker && s.points[id] == nil
}

// Sightings returns what the points have said about other peers.
func (s *Set) Sightings() *Sightings { return s.sightings }

// Point returns the point with that ID. For a peer that is not in the set, it returns a
// Point that does not become part of the set.
func (s *Set) Point(id peer.ID) *Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.points[id]; p != nil {
		return p
	}
	p := s.others[id]
	if p == nil {
		p = newPoint(&s.config, id)
		if len(s.others) == maxRemembered {
			clear(s.others)
		}
		s.others[id] = p
	}
	return p
}

// get returns the point of that ID as far as is known without asking the peerstore, or
// nil.
func (s *Set) get(id peer.ID) *Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points[id]
}

// Known returns all points, in no order.
func (s *Set) Known() []*Point {
	points, current := s.current()
	if !current {
		points = s.scan()
	}
	return slices.Collect(maps.Values(points))
}

// current returns the points, and whether they need not be looked for again yet.
func (s *Set) current() (points map[peer.ID]*Point, current bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points, !s.anySpeaker || !s.outdated && time.Since(s.scanned) < scanInterval
}

// scan looks for points in the peerstore and returns all.
func (s *Set) scan() map[peer.ID]*Point {
	s.scanning.Lock()
	defer s.scanning.Unlock()
	before, current := s.current()
	if current { // another call has just scanned
		return before
	}
	s.setOutdated(false)
	begun := time.Now()
	found := speakers(&s.config, before)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anySpeaker { // none were named meanwhile
		s.points, s.scanned = found, begun
	}
	return s.points
}

// setOutdated says whether the next call that needs the points must scan the peerstore.
func (s *Set) setOutdated(outdated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outdated = outdated
}

// Choose returns the points to ask for a namespace, the best first. Points in backoff are
// left out. If all are, it returns the one whose backoff ends first.
func (s *Set) Choose(namespace string) []*Point {
	known := s.Known()
	ready := slices.DeleteFunc(slices.Clone(known), (*Point).inBackoff)
	if len(ready) > 0 || len(known) == 0 {
		return rank(ready, (*Point).ID, namespace)
	}
	return []*Point{slices.MinFunc(known, func(a, b *Point) int {
		return a.currentBackoff().until.Compare(b.currentBackoff().until)
	})}
}

// Preferred returns the points that the peers of a namespace prefer: the first n in
// order of rank, in backoff or not.
func (s *Set) Preferred(namespace string, n int) []*Point {
	ranked := rank(s.Known(), (*Point).ID, namespace)
	return ranked[:min(n, len(ranked))]
}

// Ask makes a request at the first points of a namespace, at want of them at the same
// time, and at the next one for each that fails or is slow. If some of the first ones failed
// last time, one of these is tried in addition. Ask calls request from several goroutines, with a
// context that bounds the request. It returns the points that answered: when all requests have
// ended and want have answered or no point is left to ask, or when enough have and the others
// have had up to two more times hedgeAfter. All calls of request have then ended. If no point
// answered, the error is [ErrNoPoints] or says what went wrong at each.
func (s *Set) Ask(ctx context.Context, namespace string, want, enough int, request func(context.Context, *Point) error) ([]*Point, error) {
	chosen := s.Choose(namespace)
	if len(chosen) == 0 {
		return nil, ErrNoPoints
	}
	return ask(ctx, chosen, want, enough, request)
}

// AtOnce returns how many points [Set.Ask] asks to begin with.
func (s *Set) AtOnce(namespace string, want int) int {
	chosen := s.Choose(namespace)
	if _, extra := order(chosen, want); extra != nil {
		want++
	}
	return min(want, len(chosen))
}

// Listen calls wake from now on, a moment after something has happened that may call for a
// request: the host has met a point or a point came back, the host's addresses or the named
// points have changed, the machine's addresses have, or it has slept. wake is called once for
// all that happens together, with whether the machine has slept. It must not block: the
// host's events wait for it. It may be called for a moment after [Listener.Stop].
func (s *Set) Listen(wake func(slept bool)) (*Listener, error) {
	l := &Listener{&s.listeners, wake}
	err := s.listeners.add(l, func() (*wakeups, error) { return newWakeups(&s.config, s) })
	if err != nil {
		return nil, err
	}
	return l, nil
}

// namedChange implements [source].
func (s *Set) namedChange() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namedChanged
}

// settled implements [source]. Only now must the peerstore be scanned again: a peer may cause
// many events, and a scan for each would cost too much.
func (s *Set) settled() { s.setOutdated(true) }

// noticed implements [source]. A point that the host has just connected to may be
// tried now, if it is in backoff.
func (s *Set) noticed(e any) bool {
	switch e := e.(type) {
	case event.EvtLocalAddressesUpdated:
		return true
	case event.EvtPeerIdentificationCompleted:
		return s.met(e.Peer, e.Protocols)
	case event.EvtPeerProtocolsUpdated:
		return s.met(e.Peer, e.Added)
	case event.EvtPeerConnectednessChanged:
		point := s.get(e.Peer)
		if point == nil {
			return false
		}
		if e.Connectedness == network.NotConnected {
			return s.config.Lasting
		}
		point.retryNow()
		return true
	default:
		return false
	}
}

// met handles the news that a peer speaks protocols. A known point may be tried now. met reports
// whether the peer is a point or may become one.
func (s *Set) met(id peer.ID, protocols []protocol.ID) bool {
	speaks := slices.ContainsFunc(protocols, func(p protocol.ID) bool { return slices.Contains(s.config.Protocols, p) })
	if !speaks {
		return false
	}
	s.mu.Lock()
	point, anySpeaker := s.points[id], s.anySpeaker
	s.mu.Unlock()
	if point != nil {
		point.retryNow()
	}
	return point != nil || anySpeaker
}
