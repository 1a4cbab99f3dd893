package rendezvous

// The calls that keep the host registered: KeepRegistered until its context ends, and
// Advertise while its caller calls again.

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/latest"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// advertiseRetry is when discovery/util.Advertise and gossipsub call Advertise again
	// after an error.
	advertiseRetry = 2 * time.Minute
	// firstPointTimeout is how long Advertise waits for the host to meet a first point.
	firstPointTimeout = 5 * time.Second
)

// registrar registers a host at the points of namespaces.
type registrar struct {
	*asker
	shared *keeping

	mu      sync.Mutex
	users   map[string]*users  // by namespace
	leaving map[string]*keeper // those that have ended and may still unregister
	events  *points.Listener   // nil while there is no keeper
	woken   chan struct{}      // closed and replaced at each wake-up
}

func newRegistrar(a *asker) *registrar {
	r := &registrar{
		asker:   a,
		shared:  newKeeping(),
		users:   make(map[string]*users),
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
	for _, u := range r.users {
		u.tellCalls()
	}
}

// lock locks r.mu for a caller that acquires a namespace. It listens to events before that: to
// subscribe to them may have to wait until wake has returned, and wake needs r.mu.
func (r *registrar) lock() error {
	events, err := r.points.Listen(r.wake)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.events == nil {
		r.events = events
	} else {
		events.Stop() // one is enough
	}
	return nil
}

// acquire returns the users of a namespace, with one more. lock was called.
func (r *registrar) acquire(ctx context.Context, ns string) *users {
	u := r.users[ns]
	if u == nil {
		u = &users{registrar: r}
		u.keeper = newKeeper(r.asker, r.shared, ns, u, r.leaving[ns])
		u.keeper.start(ctx)
		r.users[ns] = u
	}
	u.number++
	return u
}

// release ends the keeper of a namespace after its last user, and listens to no events after
// the last keeper. It returns what is ending. r.mu is held.
func (r *registrar) release(u *users) (ending []<-chan struct{}) {
	if u.number--; u.number > 0 {
		return nil
	}
	delete(r.users, u.keeper.namespace)
	r.leaving[u.keeper.namespace] = u.keeper
	u.keeper.cancel()
	ending = append(ending, u.keeper.done)
	if len(r.users) == 0 {
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
	r.shared.record.outdated.Store(true)
	close(r.woken)
	r.woken = make(chan struct{})
	for _, u := range r.users {
		if slept {
			u.keeper.registrations.SetStale()
		}
		u.keeper.wake()
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
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	c := newKeepCall(r.silence)
	for i, ns := range namespaces {
		if slices.Contains(namespaces[:i], ns) {
			continue
		}
		u := r.acquire(ctx, ns)
		u.calls = append(u.calls, c)
		c.namespaces = append(c.namespaces, u)
		u.keeper.wake()
	}
	notify(c.changed)
	go func() {
		defer close(c.out)
		defer c.lapse.Stop()
		latest.Publish(ctx, c.out, c.changed, publishInterval, c.build)
		r.end(c)
	}()
	return c.out, nil
}

// end ends what a call of KeepRegistered has started, and waits for it.
func (r *registrar) end(c *keepCall) {
	var ending []<-chan struct{}
	r.mu.Lock()
	for _, u := range c.namespaces {
		u.calls = slices.DeleteFunc(u.calls, func(other *keepCall) bool { return other == c })
		ending = append(ending, r.release(u)...)
	}
	r.mu.Unlock()
	for _, ended := range ending {
		<-ended
	}
}

// advertise registers the host, and keeps it registered until ctx ends or the caller does
// not call again. It waits a while if no point is known yet.
func (r *registrar) advertise(ctx context.Context, ns string, ttl time.Duration) (time.Duration, error) {
	u, err := r.lease(ctx, ns, r.lifetimes(ttl))
	if err != nil {
		return 0, err
	}
	r.awaitPoint(ctx)
	next, err := u.keeper.ask(ctx)
	lives := max(DefaultTTL, next*5/3)
	if err != nil {
		lives += advertiseRetry
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.lease != nil {
		u.lease.ending.Reset(lives)
	}
	return next, err
}

// lifetimes returns the TTLs to ask points for if the caller of Advertise asks for
// ttl.
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

// lease returns the users of an advertised namespace, with a lease that ends with ctx.
func (r *registrar) lease(ctx context.Context, ns string, ttl lifetimes) (*users, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	u := r.users[ns]
	if u == nil || u.lease == nil {
		u = r.acquire(ctx, ns)
	} else {
		u.lease.unwatch()
		u.lease.ending.Stop()
	}
	l := &lease{ttl: ttl}
	end := func() { r.endLease(u, l) }
	l.ending = time.AfterFunc(DefaultTTL+advertiseRetry, end) // the call is under way
	l.unwatch = context.AfterFunc(ctx, end)
	u.lease = l
	return u, nil
}

// endLease ends a lease unless another one has replaced it.
func (r *registrar) endLease(u *users, l *lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.lease != l {
		return
	}
	l.unwatch()
	l.ending.Stop()
	u.lease = nil
	r.release(u)
}

// users are the calls of KeepRegistered and Advertise for one namespace. They share a keeper.
type users struct {
	registrar *registrar
	keeper    *keeper

	// Guarded by registrar.mu:
	number int
	calls  []*keepCall // those of KeepRegistered
	lease  *lease      // that of Advertise, or nil
}

func (u *users) changed() {
	u.registrar.mu.Lock()
	defer u.registrar.mu.Unlock()
	u.tellCalls()
}

// tellCalls tells the calls of KeepRegistered that their state has changed. The registrar's mu
// is held.
func (u *users) tellCalls() {
	for _, c := range u.calls {
		notify(c.changed)
	}
}

func (u *users) lifetimes() lifetimes {
	u.registrar.mu.Lock()
	defer u.registrar.mu.Unlock()
	if len(u.calls) == 0 && u.lease != nil {
		return u.lease.ttl
	}
	return u.registrar.ttl
}

func (u *users) hasSuccessor() bool {
	u.registrar.mu.Lock()
	defer u.registrar.mu.Unlock()
	return u.registrar.users[u.keeper.namespace] != nil
}

func (u *users) left() {
	u.registrar.mu.Lock()
	defer u.registrar.mu.Unlock()
	if u.registrar.leaving[u.keeper.namespace] == u.keeper {
		delete(u.registrar.leaving, u.keeper.namespace)
	}
}

// keepCall is one call of KeepRegistered.
type keepCall struct {
	silence    *points.Silence
	namespaces []*users
	out        chan State    // holds the newest state until it is read
	changed    chan struct{} // holds a token when the state has changed
	lapse      *time.Timer   // fires when the host is no longer registered in one of namespaces; set by build
	built      stateVersion  // of the state that build built last
}

// stateVersion differs between states that differ.
type stateVersion struct {
	versions uint64 // the sum of those of the namespaces, each of which only grows
	findable int    // namespaces
	silent   bool
}

func newKeepCall(silence *points.Silence) *keepCall {
	none := stateVersion{findable: -1} // so that the first state differs from it
	c := &keepCall{silence: silence, out: make(chan State, 1), changed: make(chan struct{}, 1), built: none}
	c.lapse = time.AfterFunc(MaxTTL, func() { notify(c.changed) })
	return c
}

// publishInterval is how long changes of the state are collected.
const publishInterval = 100 * time.Millisecond

// build builds the present state in the memory of an earlier one, and reports whether it differs
// from the one that it built before. The next one is due when a namespace in which the host is
// registered no longer is one, unless something changes before.
func (c *keepCall) build(s *State) (differs bool) {
	c.lapse.Stop()
	lapse := time.Duration(math.MaxInt64)
	s.SearchErr = c.silence.Err()
	now := stateVersion{silent: s.SearchErr != nil}
	s.Namespaces = slices.Grow(s.Namespaces[:0], len(c.namespaces))[:len(c.namespaces)]
	for i, u := range c.namespaces {
		n := &s.Namespaces[i]
		n.Namespace, n.Points = u.keeper.namespace, n.Points[:0]
		var version uint64
		version, n.Err = u.keeper.registrations.State(func(at points.Registered) {
			n.Points = append(n.Points, PointState{Point: at.Point, Protocol: at.Protocol, Until: at.Until, Err: at.Err})
		})
		now.versions += version
		if left := time.Until(n.until()); left > 0 {
			now.findable++
			lapse = min(lapse, left)
		}
	}
	if now.findable > 0 {
		c.lapse.Reset(lapse)
	}
	differs = now != c.built
	c.built = now
	return differs
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
	// Until is when the last registration that the point granted ends. It is in the
	// past if the registration was not refreshed, and zero if there was none or the
	// machine has slept since.
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
	return time.Now().Before(n.until())
}

// until returns when the last of the namespace's registrations ends.
func (n NamespaceState) until() (last time.Time) {
	for i := range n.Points {
		if until := n.Points[i].Until; until.After(last) {
			last = until
		}
	}
	return last
}
