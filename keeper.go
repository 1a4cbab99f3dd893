package rendezvous

// Keeping the host registered: in one namespace, and in several together.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// minRefresh is the shortest time between two refreshes if points grant a shorter TTL
	// than they were asked for. A point must not be able to make a peer send requests to all
	// points many times a second.
	minRefresh = 3 * time.Second
	// retryDelay is how long to wait after a refresh for which no point was asked.
	retryDelay = time.Second
	// A lasting registration is refreshed as if its TTL were calmTTL, because a point may
	// lose it, and clients that follow cookies read only what was registered or refreshed
	// since. While this host searches the namespace, it is refreshed as if its TTL were
	// DefaultTTL, because the host then needs to be found soon.
	calmTTL = 500 * time.Second
	// unregisterTimeout bounds how long it takes to end a lasting registration.
	unregisterTimeout = time.Second
)

// keeping is what the keepers of all namespaces share.
type keeping struct {
	refreshes points.Refreshes
	record    recentRecord
	schedule  *points.Schedule[*keeper]

	created               time.Time
	lastTime              atomic.Int64 // when a registration last succeeded, in nanoseconds since created
	failures, addressless logging.Limit
}

func newKeeping() *keeping {
	return &keeping{created: time.Now(), schedule: points.NewSchedule((*keeper).begin, refreshGroup)}
}

// logOutcome logs that nobody finds the host, once no registration has succeeded for
// [DefaultTTL]. It does so because gossipsub does not show the errors of its
// discovery.
func (s *keeping) logOutcome(ns string, err error) {
	if err == nil {
		s.lastTime.Store(int64(time.Since(s.created)))
		return
	}
	if time.Since(s.created)-time.Duration(s.lastTime.Load()) < DefaultTTL {
		return
	}
	if errors.Is(err, ErrNoAddresses) { // which is no point's fault
		if n, due := s.addressless.Due(); due {
			logging.Log.Warn("this host has no address that others could use, so other peers cannot find this host", "namespace", ns, "times", n)
		}
		return
	}
	if n, due := s.failures.Due(); due {
		logging.Log.Error("no rendezvous point takes this host's registrations, so other peers cannot find this host", "namespace", ns, "error", err, "times", n)
	}
}

// recentRecord is the host's record, which many namespaces need at the same time. Looking whether
// the host's addresses have changed is a tenth of what a refresh of ten namespaces costs.
type recentRecord struct {
	outdated atomic.Bool // whether the addresses may have changed since they were looked at

	mu       sync.Mutex
	looked   time.Time
	envelope []byte
}

// recordAge is for how long recentRecord does not look again, unless the addresses may have changed.
const recordAge = 50 * time.Millisecond

func (r *recentRecord) get(own *peerrecord.HostRecord) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if outdated := r.outdated.Swap(false); !outdated && r.envelope != nil && time.Since(r.looked) < recordAge {
		return r.envelope, nil
	}
	envelope, err := own.Envelope()
	r.envelope, r.looked = envelope, time.Now()
	return envelope, err
}

// keeperUsers are those for whom a keeper keeps the host registered. All methods may be called at
// the same time.
type keeperUsers interface {
	changed()             // is called when the state in the namespace has changed
	lifetimes() lifetimes // to register for
	hasSuccessor() bool   // whether another keeper of the namespace follows
	left()                // is called when the keeper sends nothing any more
}

// keeper keeps the host registered in one namespace.
type keeper struct {
	*asker
	shared        *keeping
	namespace     string
	users         keeperUsers
	before        *keeper   // of the namespace, which may still unregister; nil if there is none
	succeeded     bool      // whether the next keeper takes its registrations over; set before done is closed
	asked         lifetimes // what the last refresh asked points for; only refreshes use it
	current       *refresh  // from begin to refreshGroup
	registrations *points.Registrations
	refresher     *points.Refresher[*keeper]
	cancel        context.CancelFunc
	done          chan struct{} // closed when it has ended
}

func newKeeper(a *asker, shared *keeping, ns string, u keeperUsers, before *keeper) *keeper {
	k := &keeper{
		asker:         a,
		shared:        shared,
		namespace:     ns,
		users:         u,
		before:        before,
		registrations: points.NewRegistrations(ns, u.changed),
		done:          make(chan struct{}),
	}
	k.refresher = points.NewRefresher(k)
	k.refresher.Outdated, k.refresher.Early = k.outdated, k.searching
	return k
}

// start lets the keeper run until it is cancelled. The end of ctx does not end it, because the
// next user may have another one.
func (k *keeper) start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(k.done)
		k.run(ctx)
	}()
}

// run keeps the host registered until ctx ends, and then ends the registrations that would
// live on. It begins when it is woken or asked to.
func (k *keeper) run(ctx context.Context) {
	defer k.leave(ctx)
	if k.before != nil {
		<-k.before.done // what it sends must not come after what this one does
		if k.before.succeeded {
			k.registrations.TakeOver(k.before.registrations)
		}
		k.before = nil
	}
	k.shared.schedule.Run(ctx, k.refresher)
}

// wake makes the keeper check whether the host must register again.
func (k *keeper) wake() { k.shared.schedule.Wake(k.refresher) }

// ask registers at the points of the namespace now, and returns when to ask again.
func (k *keeper) ask(ctx context.Context) (time.Duration, error) {
	return k.shared.schedule.Ask(ctx, k.refresher)
}

// searching reports whether this host searches the namespace at points of a protocol whose
// registrations last.
func (k *keeper) searching() bool {
	since := time.Now().Add(-DefaultTTL)
	return k.lasting && slices.ContainsFunc(k.chosen(), func(p *points.Point) bool { return p.FollowedSince(k.namespace, since) })
}

// leave ends the registrations that would live on without the host. If another keeper of the
// namespace follows, that one does so when it ends.
func (k *keeper) leave(ctx context.Context) {
	defer k.users.left()
	if k.succeeded = k.users.hasSuccessor(); k.succeeded {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unregisterTimeout)
	defer cancel()
	var told sync.WaitGroup
	defer told.Wait()
	_, _ = k.registrations.State(func(at points.Registered) {
		if !at.MayLive() || !lasts(at.Protocol) {
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

// begin begins a refresh, and reports whether there are registrations to refresh together with those
// of other namespaces. If there are none, the refresh does not wait for the others.
func (k *keeper) begin() (together bool) {
	r, err := k.plan()
	if err != nil {
		k.end(err)
		k.shared.schedule.Done(k.refresher, retryDelay, err)
		return false
	}
	if len(r.due) == 0 {
		r.finish()
		return false
	}
	k.current = r
	return true
}

// plan plans a refresh. Its errors are no point's fault.
func (k *keeper) plan() (*refresh, error) {
	envelope, err := k.shared.record.get(k.own)
	if err != nil {
		return nil, err
	}
	k.registrations.Begin(envelope)
	ttl := k.users.lifetimes()
	r := &refresh{keeper: k, envelope: envelope, ttl: ttl, all: ttl != k.asked, begun: time.Now(), shortestTTL: calmTTL, askedTTL: calmTTL}
	k.asked = ttl
	if r.where = k.chosen(); len(r.where) == 0 {
		return nil, ErrNoPoints
	}
	r.choose()
	return r, nil
}

// end records the outcome of a refresh.
func (k *keeper) end(err error) {
	k.registrations.End(err, k.isKnown)
	k.shared.logOutcome(k.namespace, err)
	if err != nil {
		logging.Log.Debug("registered at no rendezvous point", "namespace", k.namespace, "error", err)
	}
}

func (k *keeper) isKnown(id peer.ID) bool {
	return slices.ContainsFunc(k.points.Known(), func(p *points.Point) bool { return p.ID() == id })
}

// refreshGroup refreshes the registrations of namespaces that are due at the same time: together, and
// then one by one where that was not enough.
func refreshGroup(ctx context.Context, group []*keeper) {
	all := make([]*refresh, len(group))
	for i, k := range group {
		all[i], k.current = k.current, nil
	}
	refreshTogether(ctx, all)
	for _, r := range all {
		r.finish()
	}
}

// refresh is one refresh of a keeper.
type refresh struct {
	*keeper
	envelope []byte
	ttl      lifetimes
	all      bool // whether to register at each point, due or not
	begun    time.Time

	where []*points.Point // the points of the namespace
	due   []*points.Point // those of them where the registration is to be refreshed together with others

	mu                    sync.Mutex
	failed                map[*points.Point]error // outcomes of refreshing together
	more                  bool                    // whether refreshing together is not enough
	shortestTTL, askedTTL time.Duration           // that points granted and that they were asked for, calmTTL at most
	latest                time.Time               // when the first is due of the registrations that were left alone; zero if none was
}

// choose decides which registrations to refresh together with those of other namespaces. It
// chooses none if a point lacks the registration or is failing: the namespace is then refreshed
// alone.
func (r *refresh) choose() {
	for _, point := range r.where {
		since, ttl := r.refreshTTL(point, r.envelope)
		if ttl == 0 || point.Failing() {
			r.more, r.due = true, nil
			return
		}
		if !r.isEarly(since, ttl) {
			r.due = append(r.due, point)
		}
	}
}

// finish ends the refresh. If refreshing together was not enough, it goes on alone.
func (r *refresh) finish() {
	if !r.isEnough() {
		r.shared.schedule.Go(r.refresher, r.alone)
		return
	}
	r.end(nil)
	r.shared.schedule.Done(r.refresher, r.next(r.where), nil)
}

// isEnough reports whether the host is registered at the points of the namespace.
func (r *refresh) isEnough() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.more && len(r.failed) == 0
}

// alone registers at the points of the namespace, and returns how long to wait before the next
// refresh, also if it fails.
func (r *refresh) alone(ctx context.Context) (time.Duration, error) {
	answered, err := r.points.Ask(ctx, r.namespace, r.redundancy, r.redundancy, r.at)
	if ctx.Err() == nil {
		r.end(err)
	}
	switch {
	case errors.Is(err, ErrNoPoints):
		return retryDelay, err
	case err != nil:
		return points.RetryAfter(r.points.Known()...), err
	}
	return r.next(answered), nil
}

// refreshTogether refreshes the registrations of several namespaces that are due, all that are
// at one point in one go.
func refreshTogether(ctx context.Context, all []*refresh) {
	at := make(map[*points.Point][]*refresh)
	for _, r := range all {
		for _, point := range r.due {
			at[point] = append(at[point], r)
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	for point, due := range at {
		if len(at) == 1 {
			refreshAtPoint(ctx, point, due)
			return
		}
		running.Go(func() { refreshAtPoint(ctx, point, due) })
	}
}

// refreshAtPoint refreshes registrations at a point in one go. A single one is left to
// [refresh.alone], which turns to other points if this one is slow.
func refreshAtPoint(ctx context.Context, point *points.Point, due []*refresh) {
	if len(due) == 1 {
		due[0].needsMore()
		return
	}
	all := make([]*registerCall, len(due))
	for i, r := range due {
		all[i] = r.newCall(point)
	}
	err := point.InTurn(ctx, func() error {
		due[0].register(ctx, point, all...)
		return nil
	})
	for i, r := range due {
		if err != nil {
			all[i].err = err
		}
		r.refreshed(ctx, point, all[i])
	}
}

// refreshed records the outcome of a refresh that was made together with others. An error says
// nothing if ctx has ended: a namespace was left, or the group's time is over.
func (r *refresh) refreshed(ctx context.Context, point *points.Point, call *registerCall) {
	if call.err != nil && ctx.Err() != nil || errors.Is(call.err, points.ErrNotAnswered) {
		r.needsMore()
		return
	}
	if err := r.registered(point, call); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.failed == nil {
			r.failed = make(map[*points.Point]error)
		}
		r.failed[point] = err
	}
}

// needsMore records that a registration is still to be refreshed.
func (r *refresh) needsMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.more = true
}

// at registers at a point, unless that is not due yet. So a point that grants a short TTL gets
// more refreshes itself, and the other points do not.
func (r *refresh) at(ctx context.Context, point *points.Point) error {
	if since, ttl := r.refreshTTL(point, r.envelope); ttl > 0 && r.isEarly(since, ttl) {
		return nil
	}
	if err := r.failure(point); err != nil {
		return err // it was asked together with others
	}
	call := r.newCall(point)
	err := point.InTurn(ctx, func() error {
		r.register(ctx, point, call)
		return nil
	})
	if err != nil {
		call.err = err
	}
	return r.registered(point, call)
}

// isEarly reports whether a registration made at since, with that TTL, is not yet due.
func (r *refresh) isEarly(since time.Time, ttl time.Duration) bool {
	earliest, latest := points.RefreshWindow(ttl)
	if r.all && !since.After(r.begun) || !time.Now().Before(since.Add(earliest)) {
		return false
	}
	r.skip(since.Add(latest))
	return true
}

// newCall returns the REGISTER for a point.
func (r *refresh) newCall(point *points.Point) *registerCall {
	return &registerCall{namespace: r.namespace, envelope: r.envelope, ttl: r.ttl, refresh: r.registrations.Live(point.ID(), r.envelope)}
}

// registered records the outcome of a REGISTER, and returns its error.
func (r *refresh) registered(point *points.Point, call *registerCall) error {
	r.registrations.Set(point.ID(), call.protocol, r.envelope, call.sent, call.granted, call.err)
	if call.err == nil {
		r.take(call.granted, call.protocol)
	}
	return call.err
}

func (r *refresh) failure(point *points.Point) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[point]
}

// take records what a point has granted.
func (r *refresh) take(ttl time.Duration, id protocol.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shortestTTL = min(r.shortestTTL, ttl)
	r.askedTTL = min(r.askedTTL, r.ttl.in(dialectOf(id)))
}

// skip records that a registration was left alone, because it is due only later.
func (r *refresh) skip(latest time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest.IsZero() || latest.Before(r.latest) {
		r.latest = latest
	}
}

// next returns how long to wait before the next refresh, after these points have answered.
func (r *refresh) next(answered []*points.Point) time.Duration {
	next := r.shared.refreshes.After(r.begun, r.shortestTTL)
	if r.shortestTTL < r.askedTTL {
		next = max(next, min(minRefresh, points.Jitter(r.askedTTL*3/5))-time.Since(r.begun))
	}
	if !r.latest.IsZero() {
		next = min(next, time.Until(r.latest))
	}
	for _, point := range r.points.Preferred(r.namespace, r.redundancy) {
		if !slices.Contains(answered, point) { // other peers search there
			next = min(next, points.RetryAfter(point))
		}
	}
	return max(next, points.Jitter(points.MinBackoff))
}

// refreshTTL returns when the host registered these bytes at a point, and the TTL by which to plan
// the refresh: the granted one, or a shorter one. It is 0 if the registration must be refreshed now.
func (k *keeper) refreshTTL(point *points.Point, envelope []byte) (since time.Time, ttl time.Duration) {
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
	envelope, err := k.shared.record.get(k.own)
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
