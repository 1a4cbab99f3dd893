package rendezvous

// Registering at the points of a namespace: for as long as a context lasts, as
// KeepRegistered does, and while the caller calls again, as Advertise does.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/latest"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// minRefresh is the shortest time between two refreshes, whatever TTL points grant.
	// No point may make a peer send requests to all others many times a second.
	minRefresh = 3 * time.Second
	// retryDelay is the shortest time before a retry after a failure.
	retryDelay = time.Second
	// advertiseRetry is when discovery/util.Advertise and gossipsub call Advertise again
	// after an error.
	advertiseRetry = 2 * time.Minute
	// firstPointTimeout is how long Advertise waits for the host to meet a first point.
	firstPointTimeout = 5 * time.Second
	// A registration of hours is refreshed as often as if it had calmTTL, because a point
	// may forget it and an earlier one is found later; and as often as if it had DefaultTTL
	// while this host searches the namespace, because it then wants to be found, too.
	calmTTL = 500 * time.Second
	// unregisterTimeout bounds how long the end of a registration of hours takes.
	unregisterTimeout = time.Second
)

// registrar registers a host at the points of namespaces.
type registrar struct {
	*asker
	created  time.Time
	lastTime atomic.Int64 // when a registration last succeeded, in nanoseconds since created

	failures, addressless logging.Limit

	refreshes points.Refreshes

	mu      sync.Mutex
	keepers map[string]*keeper // by namespace
	leaving map[string]*keeper // those that have ended and may still unregister
	events  *points.Listener   // nil while there is no keeper
	woken   chan struct{}      // closed and replaced at each wake-up
}

func newRegistrar(a *asker) *registrar {
	r := &registrar{
		asker:   a,
		created: time.Now(),
		keepers: make(map[string]*keeper),
		leaving: make(map[string]*keeper),
		woken:   make(chan struct{}),
	}
	a.silence.Changed = r.tellCalls
	return r
}

// tellCalls tells all calls of KeepRegistered that their state has changed.
func (r *registrar) tellCalls() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keepers {
		k.tellCalls()
	}
}

// acquire returns the keeper of a namespace, for one more user. r.mu is held.
func (r *registrar) acquire(ctx context.Context, ns string) (*keeper, error) {
	k := r.keepers[ns]
	if k == nil {
		if r.events == nil {
			events, err := r.points.Listen(r.wake)
			if err != nil {
				return nil, err
			}
			r.events = events
		}
		k = newKeeper(ctx, r, ns)
		r.keepers[ns] = k
	}
	k.users++
	return k, nil
}

// release ends a keeper without users, and listens to no events after the last keeper. It
// returns what is ending. r.mu is held.
func (r *registrar) release(k *keeper) (ending []<-chan struct{}) {
	if k.users--; k.users > 0 {
		return nil
	}
	delete(r.keepers, k.namespace)
	r.leaving[k.namespace] = k
	k.cancel()
	ending = append(ending, k.done)
	if len(r.keepers) == 0 {
		ending = append(ending, r.events.Stop())
		r.events = nil
	}
	return ending
}

// wake makes every keeper check whether the host must register again. After the machine
// slept it must: nobody knows for how long the registrations have been gone.
func (r *registrar) wake(slept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.woken)
	r.woken = make(chan struct{})
	for _, k := range r.keepers {
		if slept {
			k.registrations.SetStale()
		}
		k.refresher.Wake()
	}
}

// awaitPoint returns when a point is known, or after a while.
func (r *registrar) awaitPoint(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstPointTimeout)
	defer cancel()
	for ctx.Err() == nil {
		r.mu.Lock()
		woken := r.woken
		r.mu.Unlock()
		if len(r.points.Known()) > 0 {
			return
		}
		select {
		case <-woken:
		case <-ctx.Done():
		}
	}
}

// keepRegistered keeps the host registered in namespaces until ctx ends.
func (r *registrar) keepRegistered(ctx context.Context, namespaces []string) (<-chan State, error) {
	c := &keepCall{silence: r.silence, out: make(chan State), changed: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, ns := range namespaces {
		if slices.Contains(namespaces[:i], ns) {
			continue
		}
		k, err := r.acquire(ctx, ns)
		if err != nil { // of the first
			return nil, err
		}
		k.calls = append(k.calls, c)
		c.keepers = append(c.keepers, k)
		k.refresher.Wake()
	}
	notify(c.changed)
	go func() {
		defer close(c.out)
		latest.Publish(ctx, c.out, c.changed, publishInterval, c.build)
		r.end(c)
	}()
	return c.out, nil
}

// end ends what a call of KeepRegistered has started, and waits for it.
func (r *registrar) end(c *keepCall) {
	var ending []<-chan struct{}
	r.mu.Lock()
	for _, k := range c.keepers {
		k.calls = slices.DeleteFunc(k.calls, func(other *keepCall) bool { return other == c })
		ending = append(ending, r.release(k)...)
	}
	r.mu.Unlock()
	for _, ended := range ending {
		<-ended
	}
}

// advertise registers the host, and keeps it registered until ctx ends or the caller does
// not call again. It waits a while if no point is known yet.
func (r *registrar) advertise(ctx context.Context, ns string, ttl time.Duration) (time.Duration, error) {
	k, err := r.lease(ctx, ns, r.lifetimes(ttl))
	if err != nil {
		return 0, err
	}
	r.awaitPoint(ctx)
	next, err := k.refresher.Ask(ctx)
	lives := max(DefaultTTL, next*5/3)
	if err != nil {
		lives += advertiseRetry
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.lease != nil {
		k.lease.ending.Reset(lives)
	}
	return next, err
}

// lifetimes returns for how long to register if the caller of Advertise asks for ttl.
func (r *registrar) lifetimes(ttl time.Duration) lifetimes {
	l := r.ttl
	if ttl > 0 && ttl <= MaxTTL {
		l.waku = ttl
	}
	if ttl > 0 {
		l.standard = min(ttl, MaxStandardTTL)
	}
	return l
}

// lease is what keeps the host registered between the calls of Advertise and a little
// beyond.
type lease struct {
	ttl     lifetimes
	ending  *time.Timer // ends the lease if the caller does not call again
	unwatch func() bool // stops the lease from ending with the context of the last call
}

// lease returns the keeper of an advertised namespace, with a lease that ends with ctx.
func (r *registrar) lease(ctx context.Context, ns string, ttl lifetimes) (*keeper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keepers[ns]
	if k == nil || k.lease == nil {
		var err error
		if k, err = r.acquire(ctx, ns); err != nil {
			return nil, err
		}
	} else {
		k.lease.unwatch()
		k.lease.ending.Stop()
	}
	l := &lease{ttl: ttl}
	end := func() { r.endLease(k, l) }
	l.ending = time.AfterFunc(DefaultTTL+advertiseRetry, end) // the call is under way
	l.unwatch = context.AfterFunc(ctx, end)
	k.lease = l
	return k, nil
}

// endLease ends a lease unless another one has replaced it.
func (r *registrar) endLease(k *keeper, l *lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.lease != l {
		return
	}
	l.unwatch()
	l.ending.Stop()
	k.lease = nil
	r.release(k)
}

// logOutcome logs that nobody finds the host, once that has been so for the life of a
// registration. Gossipsub, for one, does not show the errors of its discovery.
func (r *registrar) logOutcome(ns string, err error) {
	if err == nil {
		r.lastTime.Store(int64(time.Since(r.created)))
		return
	}
	if time.Since(r.created)-time.Duration(r.lastTime.Load()) < DefaultTTL {
		return
	}
	if errors.Is(err, ErrNoAddresses) { // which is no point's fault
		if n, due := r.addressless.Due(); due {
			logging.Log.Warn("this host has no address that others could use, so nobody finds it", "namespace", ns, "times", n)
		}
		return
	}
	if n, due := r.failures.Due(); due {
		logging.Log.Error("no rendezvous point takes this host's registrations, so nobody finds it", "namespace", ns, "error", err, "times", n)
	}
}

// keepCall is one call of KeepRegistered.
type keepCall struct {
	silence *points.Silence
	keepers []*keeper
	out     chan State
	changed chan struct{} // holds a token when the state has changed
}

// publishInterval is how long changes of the state are collected.
const publishInterval = 100 * time.Millisecond

// build builds the present state in the memory of an earlier one.
func (c *keepCall) build(s *State) {
	s.SearchErr = c.silence.Err()
	s.Namespaces = slices.Grow(s.Namespaces[:0], len(c.keepers))[:len(c.keepers)]
	for i, k := range c.keepers {
		n := &s.Namespaces[i]
		n.Namespace, n.Points = k.namespace, n.Points[:0]
		n.Err = k.registrations.State(func(at points.Registered) {
			n.Points = append(n.Points, PointState{Point: at.Point, Protocol: at.Protocol, Until: at.Until, Err: at.Err})
		})
	}
}

// keeper keeps the host registered in one namespace, for all calls of KeepRegistered and
// Advertise for it.
type keeper struct {
	*registrar
	namespace     string
	cancel        context.CancelFunc
	done          chan struct{} // closed when it has ended
	registrations *points.Registrations
	refresher     *points.Refresher
	before        *keeper // of the namespace, which may still unregister; nil if there is none

	// Guarded by registrar.mu:
	users int
	calls []*keepCall // those of KeepRegistered
	lease *lease      // that of Advertise, or nil
}

func newKeeper(ctx context.Context, r *registrar, ns string) *keeper {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the next caller may have another one
	k := &keeper{registrar: r, namespace: ns, cancel: cancel, done: make(chan struct{}), refresher: points.NewRefresher(), before: r.leaving[ns]}
	k.refresher.Refresh, k.refresher.Outdated, k.refresher.Hurry = k.refresh, k.outdated, k.searching
	k.registrations = points.NewRegistrations(ns, k.changed)
	go func() {
		defer close(k.done)
		k.run(ctx)
	}()
	return k
}

// changed takes in that the state in the namespace has changed.
func (k *keeper) changed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tellCalls()
}

// tellCalls tells the calls of KeepRegistered that their state has changed. The caller
// holds mu.
func (k *keeper) tellCalls() {
	for _, c := range k.calls {
		notify(c.changed)
	}
}

// run keeps the host registered until ctx ends, and ends registrations then that would live
// on. It begins when it is woken or asked to.
func (k *keeper) run(ctx context.Context) {
	defer k.leave(ctx)
	if k.before != nil {
		<-k.before.done // what it sends must not come after what this one does
		k.before = nil
	}
	k.refresher.Run(ctx)
}

// searching reports whether this host searches the namespace at points of a protocol whose
// registrations last.
func (k *keeper) searching() bool {
	since := time.Now().Add(-DefaultTTL)
	return k.lasting && slices.ContainsFunc(k.chosen(), func(p *points.Point) bool { return p.FollowedSince(k.namespace, since) })
}

// leave ends the registrations that would live on without the host, unless another keeper
// of the namespace follows.
func (k *keeper) leave(ctx context.Context) {
	defer k.left()
	if k.followed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unregisterTimeout)
	defer cancel()
	var told sync.WaitGroup
	defer told.Wait()
	_ = k.registrations.State(func(at points.Registered) {
		if registered := time.Now().Before(at.Until) || errors.Is(at.Err, context.Canceled); !registered || !lasts(at.Protocol) {
			return
		}
		told.Go(func() {
			point := k.points.Point(at.Point)
			err := point.InTurn(ctx, func() error { return k.unregister(ctx, point, k.namespace) })
			if err != nil {
				logging.Log.Debug("rendezvous point may not know that the host has left", "point", at.Point, "namespace", k.namespace, "error", err)
			}
		})
	})
}

// followed reports whether there is another keeper of the namespace.
func (k *keeper) followed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keepers[k.namespace] != nil
}

// left takes in that the keeper sends nothing any more.
func (k *keeper) left() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leaving[k.namespace] == k {
		delete(k.leaving, k.namespace)
	}
}

// lifetimes returns for how long to register.
func (k *keeper) lifetimes() lifetimes {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.calls) == 0 && k.lease != nil {
		return k.lease.ttl
	}
	return k.ttl
}

// refresh registers at the points of the namespace and returns how long to wait before
// the next refresh, also if it fails.
func (k *keeper) refresh(ctx context.Context) (time.Duration, error) {
	next, err := k.refreshAt(ctx, k.lifetimes())
	if ctx.Err() != nil {
		return next, err
	}
	k.registrations.End(err, k.isKnown)
	k.logOutcome(k.namespace, err)
	if err != nil {
		logging.Log.Debug("registered at no rendezvous point", "namespace", k.namespace, "error", err)
	}
	return next, err
}

func (k *keeper) isKnown(id peer.ID) bool {
	return slices.ContainsFunc(k.points.Known(), func(p *points.Point) bool { return p.ID() == id })
}

func (k *keeper) refreshAt(ctx context.Context, ttl lifetimes) (time.Duration, error) {
	// An error on this side must not look like a point's fault.
	envelope, err := k.own.Envelope()
	if err != nil {
		return retryDelay, err
	}
	k.registrations.Begin(envelope)
	r := &refresh{keeper: k, envelope: envelope, ttl: ttl, begun: time.Now(), shortest: calmTTL, asked: calmTTL}
	answered, err := k.points.Ask(ctx, k.namespace, k.redundancy, k.redundancy, r.at)
	switch {
	case errors.Is(err, ErrNoPoints):
		return retryDelay, err
	case err != nil:
		return points.RetryAfter(k.points.Known()...), err
	}
	next := r.next()
	for _, point := range k.points.Meeting(k.namespace, k.redundancy) {
		if !slices.Contains(answered, point) { // others will search there
			next = min(next, points.RetryAfter(point))
		}
	}
	return max(next, points.Jitter(points.MinBackoff)), nil
}

// refresh is one refresh of a keeper.
type refresh struct {
	*keeper
	envelope []byte
	ttl      lifetimes
	begun    time.Time

	mu              sync.Mutex
	shortest, asked time.Duration // TTLs that points granted and that they were asked for, calmTTL at most
	due             time.Time     // when the first is due of the registrations that were left alone; zero if none was
}

// at registers at a point, unless that is not due yet. So a point that makes the client
// refresh more often than it would, does so for itself only.
func (r *refresh) at(ctx context.Context, point *points.Point) error {
	if since, lives := r.lives(point, r.envelope); lives > 0 {
		earliest, latest := points.RefreshWindow(lives)
		if r.begun.Before(since.Add(earliest)) {
			r.leave(since.Add(latest))
			return nil
		}
	}
	var granted grant
	err := point.InTurn(ctx, func() (err error) {
		granted, err = r.register(ctx, point, r.namespace, r.ttl, r.registrations.Live(point.ID(), r.envelope))
		return err
	})
	r.registrations.Set(point.ID(), granted.protocol, r.envelope, granted.ttl, err)
	if err == nil {
		r.take(granted)
	}
	return err
}

// take takes in what a point has granted.
func (r *refresh) take(g grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shortest = min(r.shortest, g.ttl)
	r.asked = min(r.asked, r.ttl.in(dialectOf(g.protocol)))
}

// leave takes in that a registration was left alone, because it is due at a time.
func (r *refresh) leave(due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due.IsZero() || due.Before(r.due) {
		r.due = due
	}
}

// next returns how long to wait before the next refresh.
func (r *refresh) next() time.Duration {
	next := r.refreshes.After(r.begun, r.shortest)
	if r.shortest < r.asked {
		next = max(next, min(minRefresh, points.Jitter(r.asked*3/5))-time.Since(r.begun))
	}
	if !r.due.IsZero() {
		next = min(next, time.Until(r.due))
	}
	return next
}

// lives returns since when the host is registered at a point with these bytes, and for how long
// the registration needs no refresh; 0 if it needs one now.
func (k *keeper) lives(point *points.Point, envelope []byte) (since time.Time, lives time.Duration) {
	at := k.registrations.At(point.ID())
	if !k.registrations.Live(point.ID(), envelope) || mayBeLost(at, point) {
		return time.Time{}, 0
	}
	calm := calmTTL
	if k.searching() {
		calm = DefaultTTL
	}
	return at.Since, min(at.Until.Sub(at.Since), calm)
}

// mayBeLost reports whether a point may have lost a registration: it was connected to again,
// or it is not connected and keeps registrations for long.
func mayBeLost(at points.Registered, point *points.Point) bool {
	return point.ConnectedSince(at.Since) || lasts(at.Protocol) && !point.Reachable()
}

// outdated reports whether the host is not registered as it should be: with its current
// addresses, and at each of the namespace's points.
func (k *keeper) outdated() bool {
	envelope, err := k.own.Envelope()
	if err != nil {
		return true // a refresh puts the error into the state
	}
	return k.registrations.Outdated(envelope) || slices.ContainsFunc(k.chosen(), func(p *points.Point) bool {
		at := k.registrations.At(p.ID())
		return !time.Now().Before(at.Until) || mayBeLost(at, p)
	})
}

// chosen returns the points at which the host is to be registered now.
func (k *keeper) chosen() []*points.Point {
	chosen := k.points.Choose(k.namespace)
	return chosen[:min(len(chosen), k.redundancy)]
}

// State says where a host is registered, and what keeps it from being registered. The
// receiver owns it.
type State struct {
	// Namespaces are the namespaces that [Client.KeepRegistered] was called with, in
	// that order.
	Namespaces []NamespaceState
	// SearchErr is why no point answers the searches of the client any more, as
	// [Client.SearchErr] returns it.
	SearchErr error
}

// NamespaceState is a host's state in one namespace.
type NamespaceState struct {
	Namespace string
	// Points are the points at which the host is registered or was last refused, in the
	// order in which peers of the namespace prefer them.
	Points []PointState
	// Err is why the last attempt registered the host at no point: [ErrNoPoints],
	// [ErrNoAddresses], or the errors of the points. It is nil after an attempt that
	// succeeded somewhere, and before the first.
	Err error
}

// PointState is a host's state at one point.
type PointState struct {
	Point peer.ID
	// Protocol is what the point spoke last, empty if there was no stream to it yet.
	Protocol protocol.ID
	// Until is when the registration ends that the point granted last. It is in the
	// past if that was not refreshed, and zero if there was none or the machine has
	// slept since.
	Until time.Time
	// Err is the error of the last attempt, nil if it succeeded.
	Err error
}

// Findable reports whether the host is registered now in every namespace, at one point of
// each at least.
func (s State) Findable() bool {
	return !slices.ContainsFunc(s.Namespaces, func(n NamespaceState) bool { return !n.Findable() })
}

// Findable reports whether the host is registered now in this namespace.
func (n NamespaceState) Findable() bool {
	now := time.Now()
	return slices.ContainsFunc(n.Points, func(p PointState) bool { return now.Before(p.Until) })
}
