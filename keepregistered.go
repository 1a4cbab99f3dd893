package rendezvous

// Registering at the points of a namespace: for as long as a context lasts, as
// KeepRegistered does, and while the caller calls again, as Advertise does.

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// minRefresh is the shortest time between two refreshes, whatever TTL points grant.
	// No point may make a peer send requests to all others many times a second.
	minRefresh = 3 * time.Second
	// retryDelay is the shortest time before a retry after a failure.
	retryDelay = time.Second
	// callerDelay is how much longer than the caller of Advertise a refresh waits, so that
	// the call comes first.
	callerDelay = time.Second
	// advertiseRetry is when discovery/util.Advertise and gossipsub call Advertise again
	// after an error.
	advertiseRetry = 2 * time.Minute
	// firstPointTimeout is how long Advertise waits for the host to meet a first point.
	firstPointTimeout = 5 * time.Second
	// maxConcurrentRefreshes is in how many of its namespaces one call of
	// KeepRegistered registers at the same time, because hosts limit the streams of a
	// peer.
	maxConcurrentRefreshes = 32
)

// registrar registers a host at the points of namespaces.
type registrar struct {
	*asker
	created  time.Time
	lastTime atomic.Int64 // when a registration last succeeded, in nanoseconds since created

	failures, addressless logging.Limit

	mu         sync.Mutex
	advertised map[string]*advertised // by namespace
}

func newRegistrar(a *asker) *registrar {
	return &registrar{asker: a, created: time.Now(), advertised: make(map[string]*advertised)}
}

// advertise registers the host, and keeps it registered until ctx ends or the caller does
// not call again. If ctx cannot end, nothing may outlive the call, and it only registers
// once. It waits a while if no point is known yet.
func (r *registrar) advertise(ctx context.Context, ns string, ttl time.Duration) (time.Duration, error) {
	if ttl <= 0 || ttl > MaxTTL {
		ttl = DefaultTTL
	}
	if ctx.Done() == nil {
		r.points.Await(ctx, firstPointTimeout)
		return r.refresh(ctx, ns, ttl, func(peer.ID, time.Duration, error) {})
	}
	a, err := r.lease(ctx, ns, ttl)
	if err != nil {
		return 0, err
	}
	r.points.Await(ctx, firstPointTimeout)
	next, err := a.refreshOne(ctx, a.kept[0])
	a.renew(next, err)
	return next, err
}

// lease returns the keeper of an advertised namespace, which ends with ctx.
func (r *registrar) lease(ctx context.Context, ns string, ttl time.Duration) (*advertised, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.advertised[ns]
	if a == nil || a.ctx.Err() != nil {
		wakeups, err := r.points.Wakeups()
		if err != nil {
			return nil, err
		}
		a = newAdvertised(r, ns)
		r.advertised[ns] = a
		go a.run(wakeups, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			a.follows()
			if r.advertised[ns] == a {
				delete(r.advertised, ns)
			}
		})
	} else {
		a.follows()
	}
	a.ttl.Store(int64(ttl))
	a.follows = context.AfterFunc(ctx, a.cancel)
	return a, nil
}

// advertised keeps the host registered in a namespace between the calls of Advertise and
// a little beyond.
type advertised struct {
	*keeper
	ctx     context.Context
	cancel  context.CancelFunc
	follows func() bool  // stops it from ending with the context of the last call; guarded by registrar.mu
	renewed chan renewal // holds the outcome of the last call
}

// renewal is the outcome of a call of Advertise.
type renewal struct {
	next time.Duration // until the next refresh, unless the caller calls again before
	ends time.Time     // when the caller has given up, if it has not called again
}

func newAdvertised(r *registrar, ns string) *advertised {
	a := &advertised{keeper: newKeeper(r, []string{ns}), renewed: make(chan renewal, 1)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// renew takes in the outcome of a call. discovery/util.Advertise calls again two minutes
// after an error.
func (a *advertised) renew(next time.Duration, err error) {
	ends := time.Now().Add(DefaultTTL)
	if err != nil {
		ends = ends.Add(advertiseRetry)
	}
	select { // the last outcome counts
	case <-a.renewed:
	default:
	}
	select {
	case a.renewed <- renewal{next + callerDelay, ends}:
	default:
	}
}

// run keeps the host registered until the caller has given up. It calls ended then.
func (a *advertised) run(wakeups *points.Wakeups, ended func()) {
	defer ended()
	defer a.cancel()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer a.cancel()
	tasks.Go(func() { wakeups.Run(a.ctx, a.wake) })
	n := a.kept[0]
	refresh := time.NewTimer(advertiseRetry) // the first call is under way
	defer refresh.Stop()
	end := time.NewTimer(advertiseRetry + DefaultTTL)
	defer end.Stop()
	for {
		select {
		case r := <-a.renewed:
			refresh.Reset(r.next)
			end.Reset(time.Until(r.ends))
			continue
		case <-n.woken:
			if !n.tried() || !a.outdated(n) {
				continue
			}
		case <-refresh.C:
		case <-end.C:
			return
		case <-a.ctx.Done():
			return
		}
		next, _ := a.refreshOne(a.ctx, n) // the error is in the log
		refresh.Reset(next)
	}
}

// refresh registers at the points of ns and returns how long to wait before the next
// refresh, also if it fails. It calls report with each outcome as it comes, from several
// goroutines.
func (r *registrar) refresh(ctx context.Context, ns string, ttl time.Duration, report func(point peer.ID, granted time.Duration, err error)) (time.Duration, error) {
	next, err := r.refreshAt(ctx, ns, ttl, report)
	if ctx.Err() == nil {
		r.logOutcome(ns, err)
	}
	return next, err
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
			logging.Log.Error("this host has no address that others could use, so nobody finds it", "namespace", ns, "times", n)
		}
		return
	}
	if n, due := r.failures.Due(); due {
		logging.Log.Error("no rendezvous point takes this host's registrations, so nobody finds it", "namespace", ns, "error", err, "times", n)
	}
}

func (r *registrar) refreshAt(ctx context.Context, ns string, ttl time.Duration, report func(point peer.ID, granted time.Duration, err error)) (time.Duration, error) {
	// An error on this side must not look like a point's fault.
	if _, err := r.own.Envelope(); err != nil {
		return retryDelay, err
	}
	begun := time.Now()
	var mu sync.Mutex
	shortest := ttl
	answered, err := r.points.Ask(ctx, ns, r.redundancy, r.redundancy, func(ctx context.Context, point *points.Point) error {
		granted, err := r.register(ctx, point, ns, ttl)
		report(point.ID(), granted, err)
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
		return points.RetryAfter(r.points.Known()...), err
	}
	next := max(refreshAfter(shortest), min(minRefresh, refreshAfter(ttl))) - time.Since(begun)
	for _, point := range r.points.Meeting(ns, r.redundancy) {
		if !slices.Contains(answered, point) { // others will search there
			next = min(next, points.RetryAfter(point))
		}
	}
	return max(next, points.Jitter(points.MinBackoff)), nil
}

// refreshAfter returns how long after it was granted a registration is refreshed: a
// little over half its TTL, which leaves time for a second and a third attempt.
func refreshAfter(ttl time.Duration) time.Duration {
	return points.Jitter(ttl * 3 / 5)
}

// State says where a host is registered, and what keeps it from being registered. The
// receiver owns it.
type State struct {
	// Namespaces are the namespaces that [Client.KeepRegistered] was called with, in
	// that order.
	Namespaces []NamespaceState
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

// keeper is one call of KeepRegistered.
type keeper struct {
	*registrar
	kept    []*keptNamespace
	out     chan State
	changed chan struct{} // holds a token when the state has changed
	slots   chan struct{} // holds a token for each refresh that is under way
	ttl     atomic.Int64  // to register for, in nanoseconds
}

func newKeeper(r *registrar, namespaces []string) *keeper {
	k := &keeper{
		registrar: r,
		out:       make(chan State),
		changed:   make(chan struct{}, 1),
		slots:     make(chan struct{}, maxConcurrentRefreshes),
	}
	k.ttl.Store(int64(DefaultTTL))
	for i, ns := range namespaces {
		if !slices.Contains(namespaces[:i], ns) {
			k.kept = append(k.kept, newKeptNamespace(ns))
		}
	}
	return k
}

// keepRegistered keeps the host registered in namespaces until ctx ends.
func (r *registrar) keepRegistered(ctx context.Context, namespaces []string) (<-chan State, error) {
	k := newKeeper(r, namespaces)
	wakeups, err := r.points.Wakeups()
	if err != nil {
		return nil, err
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { wakeups.Run(ctx, k.wake) })
	for _, n := range k.kept {
		tasks.Go(func() { k.run(ctx, n) })
	}
	go func() {
		defer close(k.out)
		k.publish(ctx)
		tasks.Wait()
	}()
	return k.out, nil
}

// wake makes every namespace check whether the host must register again. After the
// machine slept it must: nobody knows for how long the registrations have been gone.
func (k *keeper) wake(slept bool) {
	for _, n := range k.kept {
		if slept {
			n.setStale()
		}
		notify(n.woken)
	}
	notify(k.changed)
}

// run keeps the host registered in one namespace until ctx ends.
func (k *keeper) run(ctx context.Context, n *keptNamespace) {
	for {
		select {
		case k.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		next, _ := k.refreshOne(ctx, n) // the error is in the state
		<-k.slots
		k.wait(ctx, n, next)
	}
}

// refreshOne registers the host in one namespace and returns when to do so again.
func (k *keeper) refreshOne(ctx context.Context, n *keptNamespace) (time.Duration, error) {
	if envelope, err := k.own.Envelope(); err == nil {
		n.setEnvelope(envelope)
	}
	next, err := k.refresh(ctx, n.name, time.Duration(k.ttl.Load()), func(point peer.ID, granted time.Duration, err error) {
		n.setResult(point, granted, err)
		notify(k.changed)
	})
	if ctx.Err() != nil {
		return next, err
	}
	n.setErr(err, k.isKnown)
	notify(k.changed)
	if err != nil {
		logging.Log.Debug("registered at no rendezvous point", "namespace", n.name, "error", err)
	}
	return next, err
}

func (k *keeper) isKnown(id peer.ID) bool {
	return slices.ContainsFunc(k.points.Known(), func(p *points.Point) bool { return p.ID() == id })
}

// wait returns when it is time to register again: after d, or earlier if something has
// changed.
func (k *keeper) wait(ctx context.Context, n *keptNamespace, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-n.woken:
			if k.outdated(n) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// outdated reports whether the host is not registered as it should be: with its current
// addresses, and at each of the namespace's points. A point that was connected to again
// may have lost the registration.
func (k *keeper) outdated(n *keptNamespace) bool {
	envelope, err := k.own.Envelope()
	if err != nil {
		return true // a refresh puts the error into the state
	}
	chosen := k.points.Choose(n.name)
	chosen = chosen[:min(len(chosen), k.redundancy)]
	return n.outdated(envelope) || slices.ContainsFunc(chosen, func(p *points.Point) bool {
		since, until := n.registration(p.ID())
		return !time.Now().Before(until) || p.ConnectedSince(since)
	})
}

// publish offers the newest state to the reader of the channel.
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

// keptNamespace is a namespace in which a host is kept registered.
type keptNamespace struct {
	name  string
	woken chan struct{} // holds a token when something may have changed

	mu       sync.Mutex
	results  map[peer.ID]registerResult
	envelope []byte // as registered last
	stale    bool   // whether the registrations may have ended, because the machine slept
	err      error
}

// registerResult is the outcome of registering at a point.
type registerResult struct {
	since, until time.Time // of the last registration granted
	err          error     // of the last attempt
}

func newKeptNamespace(name string) *keptNamespace {
	return &keptNamespace{name: name, woken: make(chan struct{}, 1), results: make(map[peer.ID]registerResult)}
}

func (n *keptNamespace) state() NamespaceState {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := NamespaceState{Namespace: n.name, Err: n.err}
	for _, id := range points.Rank(slices.Collect(maps.Keys(n.results)), n.name) {
		r := n.results[id]
		s.Points = append(s.Points, PointState{Point: id, Until: r.until, Err: r.err})
	}
	return s
}

// registration returns since when and until when the host is registered at a point.
func (n *keptNamespace) registration(point peer.ID) (since, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.results[point]
	return r.since, r.until
}

// outdated reports whether the registrations may have ended, or have another record.
func (n *keptNamespace) outdated(envelope []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stale || !bytes.Equal(envelope, n.envelope)
}

// tried reports whether the host has tried to register.
func (n *keptNamespace) tried() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err != nil || len(n.results) > 0
}

func (n *keptNamespace) setEnvelope(envelope []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.envelope = envelope
}

// setResult records the outcome of registering at a point.
func (n *keptNamespace) setResult(point peer.ID, granted time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.results[point]
	if r.err = err; err == nil {
		r.since = time.Now()
		r.until = r.since.Add(granted)
		n.err, n.stale = nil, false
	}
	n.results[point] = r
}

// setErr records the outcome of a refresh as a whole. It forgets points at which the host
// is not registered and that are no longer known.
func (n *keptNamespace) setErr(err error, isKnown func(peer.ID) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	if n.stale && err != nil {
		n.expire()
	}
	maps.DeleteFunc(n.results, func(point peer.ID, r registerResult) bool {
		return !time.Now().Before(r.until) && !isKnown(point)
	})
}

// setStale records that the registrations may have ended. The wall clock may also just
// have been set, so they are not said to have until the next attempt has failed.
func (n *keptNamespace) setStale() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stale = true
}

// expire records that all registrations have ended. n.mu is held.
func (n *keptNamespace) expire() {
	for point, r := range n.results {
		r.until = time.Time{}
		n.results[point] = r
	}
}
