package rendezvous

// Staying registered: once for whoever calls again by itself, and for as long as a
// context lasts.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// minRefresh is the shortest time between two refreshes, whatever TTL points grant:
// none is to have a peer ask all of them many times a second.
const minRefresh = 3 * time.Second

// maxRenewing is in how many of its namespaces one call of KeepRegistered registers
// at the same time: hosts bound the streams that a peer may have open.
const maxRenewing = 32

// renew registers at the points of ns and returns how long to wait before doing so
// again, also where it fails. It tells each outcome as it comes, from goroutines of
// its own.
func (c *Client) renew(ctx context.Context, ns string, ttl time.Duration, tell func(point peer.ID, granted time.Duration, err error)) (time.Duration, error) {
	next, err := c.renewAt(ctx, ns, ttl, tell)
	if ctx.Err() == nil {
		c.complain(ns, err)
	}
	return next, err
}

// complain logs that nobody finds the host, once that has been so for as long as a
// registration lives: gossipsub, for one, keeps the errors of its discovery to itself.
func (c *Client) complain(ns string, err error) {
	if err == nil {
		c.registered.Store(int64(time.Since(c.began)))
		return
	}
	if time.Since(c.began)-time.Duration(c.registered.Load()) < DefaultTTL {
		return
	}
	if n, due := c.complaints.due(); due {
		log.Error("no rendezvous point takes this host's registrations, so nobody finds it", "namespace", ns, "error", err, "times", n)
	}
}

func (c *Client) renewAt(ctx context.Context, ns string, ttl time.Duration, tell func(point peer.ID, granted time.Duration, err error)) (time.Duration, error) {
	// What is wrong on this side is found out before it looks like a point's fault.
	if _, err := c.own.envelope(); err != nil {
		return retryDelay, err
	}
	begun := time.Now()
	var mu sync.Mutex
	shortest := ttl
	answered, err := c.points.ask(ctx, ns, c.config.redundancy, c.config.redundancy, func(ctx context.Context, point peer.ID) error {
		granted, err := c.Register(ctx, point, ns, ttl)
		tell(point, granted, err)
		if err == nil {
			mu.Lock()
			shortest = min(shortest, granted)
			mu.Unlock()
		}
		return err
	})
	switch {
	case errors.Is(err, ErrNoPoints):
		return retryDelay, err
	case err != nil:
		return c.points.retryAfter(c.points.known()...), err
	}
	next := max(refreshAfter(shortest), min(minRefresh, refreshAfter(ttl))) - time.Since(begun)
	for _, point := range c.points.meeting(ns, c.config.redundancy) {
		if !slices.Contains(answered, point) { // others will look there
			next = min(next, c.points.retryAfter(point))
		}
	}
	return max(next, jitter(minBackoff)), nil
}

// refreshAfter is how long after it was granted a TTL is to be renewed: a little
// over half of it, which leaves time for a second attempt and a third.
func refreshAfter(ttl time.Duration) time.Duration {
	return jitter(ttl * 3 / 5)
}

// State is where a host is registered, and what keeps it from being so. It is the
// receiver's to keep.
type State struct {
	// Namespaces are those that [Client.KeepRegistered] was called for, in that order.
	Namespaces []NamespaceState
}

// NamespaceState is a host's state in one namespace.
type NamespaceState struct {
	Namespace string
	// Points are those at which the host is registered, or last tried to be, the
	// namespace's first ones first.
	Points []PointState
	// Err is why the last attempt registered the host nowhere: [ErrNoPoints],
	// [ErrNoAddresses], or what the points answered. It is nil after one that did,
	// and before the first.
	Err error
}

// PointState is a host's state at one point.
type PointState struct {
	Point peer.ID
	// Until is when the registration ends that the point granted last, which is in
	// the past where it was not renewed, and zero where none was granted or the
	// machine has slept since.
	Until time.Time
	// Err is how the last attempt failed, nil where it did not.
	Err error
}

// Findable reports whether the host is registered now in every namespace, at one
// point of each at least.
func (s State) Findable() bool {
	return !slices.ContainsFunc(s.Namespaces, func(n NamespaceState) bool { return !n.Findable() })
}

// Findable reports whether the host is registered now in this namespace.
func (n NamespaceState) Findable() bool {
	now := time.Now()
	return slices.ContainsFunc(n.Points, func(p PointState) bool { return now.Before(p.Until) })
}

// KeepRegistered registers the host in namespaces and keeps it registered until ctx
// ends, whatever fails meanwhile: it renews each registration at a little over half
// its TTL, tries again where that fails for as long as it takes, and renews at once
// when the host's addresses change, when a point is met or comes back, and after the
// machine slept.
//
// The channel gives the state whenever it changes. It need not be read: it has only
// the newest state, and holds nothing up. It is closed when ctx has ended and
// everything that KeepRegistered started has, too. Registrations then end by
// themselves, within their TTL. The error is of what was asked for, and comes at once.
func (c *Client) KeepRegistered(ctx context.Context, ns ...string) (<-chan State, error) {
	k := &keeper{
		client:  c,
		out:     make(chan State),
		changed: make(chan struct{}, 1),
		slots:   make(chan struct{}, maxRenewing),
	}
	if err := k.prepare(ns); err != nil {
		return nil, fmt.Errorf("keep registered in %q: %w", ns, err)
	}
	sub, err := c.points.subscribe()
	if err != nil {
		return nil, fmt.Errorf("keep registered in %q: %w", ns, err)
	}
	var running sync.WaitGroup
	running.Go(func() { c.points.follow(ctx, sub, k.wake) })
	for _, n := range k.kept {
		running.Go(func() { k.keep(ctx, n) })
	}
	go func() {
		defer close(k.out)
		k.publish(ctx)
		running.Wait()
	}()
	return k.out, nil
}

// keeper is one call of KeepRegistered.
type keeper struct {
	client  *Client
	kept    []*kept
	out     chan State
	changed chan struct{} // holds a token when the state has changed
	slots   chan struct{} // holds a token for each namespace that is being registered in
}

// kept is a namespace in which the host is kept registered.
type kept struct {
	namespace string
	woken     chan struct{} // holds a token when something may have changed

	mu       sync.Mutex
	points   map[peer.ID]standing
	envelope []byte // as registered last
	err      error
}

// standing is how things are with a point.
type standing struct {
	since, until time.Time // of the registration
	err          error
}

func (k *keeper) prepare(namespaces []string) error {
	if len(namespaces) == 0 {
		return k.client.check("")
	}
	for i, ns := range namespaces {
		if err := k.client.check(ns); err != nil {
			return err
		}
		if !slices.Contains(namespaces[:i], ns) {
			k.kept = append(k.kept, &kept{
				namespace: ns,
				woken:     make(chan struct{}, 1),
				points:    make(map[peer.ID]standing),
			})
		}
	}
	return nil
}

// wake has every namespace look whether it should register anew. After sleep, it
// should: nobody knows for how long the registrations are gone.
func (k *keeper) wake(slept bool) {
	for _, n := range k.kept {
		if slept {
			n.lapse()
		}
		signal(n.woken)
	}
	signal(k.changed)
}

// signal leaves a token in a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keep keeps the host registered in one namespace.
func (k *keeper) keep(ctx context.Context, n *kept) {
	for {
		select {
		case k.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		next := k.renew(ctx, n)
		<-k.slots
		k.rest(ctx, n, next)
	}
}

// renew registers the host, and returns when to do so again.
func (k *keeper) renew(ctx context.Context, n *kept) time.Duration {
	c := k.client
	if envelope, err := c.own.envelope(); err == nil {
		n.mu.Lock()
		n.envelope = envelope
		n.mu.Unlock()
	}
	next, err := c.renew(ctx, n.namespace, DefaultTTL, func(point peer.ID, granted time.Duration, err error) {
		n.note(point, granted, err)
		signal(k.changed)
	})
	if ctx.Err() != nil {
		return 0
	}
	n.conclude(err, c.points)
	signal(k.changed)
	if err != nil {
		log.Debug("registered at no rendezvous point", "namespace", n.namespace, "error", err)
	}
	return next
}

// rest returns when it is time to register again: after a while, or when something
// has changed that calls for it.
func (k *keeper) rest(ctx context.Context, n *kept, while time.Duration) {
	timer := time.NewTimer(while)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-n.woken:
			if k.behind(n) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// behind reports whether the host is not registered as it should be: with the
// addresses that it has, and at each of the namespace's points, also where one may
// have forgotten it since because it was gone.
func (k *keeper) behind(n *kept) bool {
	c := k.client
	envelope, err := c.own.envelope()
	if err != nil {
		return true // which is for the state to tell
	}
	chosen := c.points.choose(n.namespace)
	chosen = chosen[:min(len(chosen), c.config.redundancy)]
	n.mu.Lock()
	defer n.mu.Unlock()
	return !bytes.Equal(envelope, n.envelope) || slices.ContainsFunc(chosen, func(point peer.ID) bool {
		s := n.points[point]
		return !time.Now().Before(s.until) || c.points.connectedSince(point, s.since)
	})
}

// publish offers the state to the reader of the channel, the newest at any time.
func (k *keeper) publish(ctx context.Context) {
	var out chan State // nil while there is nothing new
	var state State
	for {
		select {
		case <-k.changed:
			state, out = k.state(), k.out
		case out <- state:
			out = nil
		case <-ctx.Done():
			return
		}
	}
}

func (k *keeper) state() State {
	s := State{Namespaces: make([]NamespaceState, 0, len(k.kept))}
	for _, n := range k.kept {
		s.Namespaces = append(s.Namespaces, n.state())
	}
	return s
}

func (n *kept) state() NamespaceState {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := NamespaceState{Namespace: n.namespace, Err: n.err}
	for _, point := range rank(slices.Collect(maps.Keys(n.points)), n.namespace) {
		at := n.points[point]
		s.Points = append(s.Points, PointState{Point: point, Until: at.until, Err: at.err})
	}
	return s
}

// note notes the outcome of registering at a point.
func (n *kept) note(point peer.ID, granted time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.points[point]
	if s.err = err; err == nil {
		s.since = time.Now()
		s.until = s.since.Add(granted)
		n.err = nil
	}
	n.points[point] = s
}

// conclude notes how registering went as a whole, and forgets points at which the
// host is not registered and which are none any more.
func (n *kept) conclude(err error, points *points) {
	known := points.known()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	maps.DeleteFunc(n.points, func(point peer.ID, s standing) bool {
		return !time.Now().Before(s.until) && !slices.Contains(known, point)
	})
}

// lapse takes every registration for ended.
func (n *kept) lapse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for point, s := range n.points {
		s.until = time.Time{}
		n.points[point] = s
	}
}
