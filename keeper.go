package rendezvous

// Keeping the host registered at the points of one namespace.

import (
	"context"
	"errors"
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
	// A point must not be able to make a peer send requests to all points many times a
	// second.
	minRefresh = 3 * time.Second
	// retryDelay is the shortest time before a retry after a failure.
	retryDelay = time.Second
	// A registration of hours is refreshed as if its TTL were calmTTL, because a point may
	// lose it and clients read the newest registrations first. While this host searches the
	// namespace, it is refreshed as if its TTL were DefaultTTL, because the host then needs
	// to be found soon.
	calmTTL = 500 * time.Second
	// unregisterTimeout bounds how long the end of a registration of hours takes.
	unregisterTimeout = time.Second
)

// keeping is what the keepers of all namespaces share.
type keeping struct {
	refreshes points.Refreshes

	created               time.Time
	lastTime              atomic.Int64 // when a registration last succeeded, in nanoseconds since created
	failures, addressless logging.Limit
}

func newKeeping() *keeping { return &keeping{created: time.Now()} }

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
			logging.Log.Warn("this host has no address that others could use, so nobody finds it", "namespace", ns, "times", n)
		}
		return
	}
	if n, due := s.failures.Due(); due {
		logging.Log.Error("no rendezvous point takes this host's registrations, so nobody finds it", "namespace", ns, "error", err, "times", n)
	}
}

// keeperUsers are those for whom a keeper keeps the host registered. All methods may be called at
// the same time.
type keeperUsers interface {
	changed()             // is called when the state in the namespace has changed
	lifetimes() lifetimes // to register for
	followed() bool       // whether another keeper of the namespace follows
	left()                // is called when the keeper sends nothing any more
}

// keeper keeps the host registered in one namespace.
type keeper struct {
	*asker
	shared        *keeping
	namespace     string
	users         keeperUsers
	before        *keeper   // of the namespace, which may still unregister; nil if there is none
	asked         lifetimes // by the last refresh; only run uses it
	registrations *points.Registrations
	refresher     *points.Refresher
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
		refresher:     points.NewRefresher(),
		done:          make(chan struct{}),
	}
	k.refresher.Refresh, k.refresher.Outdated, k.refresher.Early = k.refresh, k.outdated, k.searching
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
	defer k.users.left()
	if k.users.followed() {
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

// refresh registers at the points of the namespace and returns how long to wait before
// the next refresh, also if it fails.
func (k *keeper) refresh(ctx context.Context) (time.Duration, error) {
	next, err := k.refreshAt(ctx, k.users.lifetimes())
	if ctx.Err() != nil {
		return next, err
	}
	k.registrations.End(err, k.isKnown)
	k.shared.logOutcome(k.namespace, err)
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
	r := &refresh{keeper: k, envelope: envelope, ttl: ttl, all: ttl != k.asked, begun: time.Now(), shortest: calmTTL, asked: calmTTL}
	k.asked = ttl
	answered, err := k.points.Ask(ctx, k.namespace, k.redundancy, k.redundancy, r.at)
	switch {
	case errors.Is(err, ErrNoPoints):
		return retryDelay, err
	case err != nil:
		return points.RetryAfter(k.points.Known()...), err
	}
	next := r.next()
	for _, point := range k.points.Preferred(k.namespace, k.redundancy) {
		if !slices.Contains(answered, point) { // other peers search there
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
	all      bool // whether to register at each point, due or not
	begun    time.Time

	mu              sync.Mutex
	shortest, asked time.Duration // TTLs that points granted and that they were asked for, calmTTL at most
	due             time.Time     // when the first is due of the registrations that were left alone; zero if none was
}

// at registers at a point, unless that is not due yet. So a point that makes the client
// refresh more often than it would, does so for itself only.
func (r *refresh) at(ctx context.Context, point *points.Point) error {
	if since, lives := r.lives(point, r.envelope); lives > 0 && !r.all {
		earliest, latest := points.RefreshWindow(lives)
		if r.begun.Before(since.Add(earliest)) {
			r.leave(since.Add(latest))
			return nil
		}
	}
	var granted grant
	err := point.InTurn(ctx, func() (err error) {
		granted, err = r.register(ctx, point, r.namespace, r.envelope, r.ttl, r.registrations.Live(point.ID(), r.envelope))
		return err
	})
	r.registrations.Set(point.ID(), granted.protocol, r.envelope, granted.ttl, err)
	if err == nil {
		r.take(granted)
	}
	return err
}

// take records what a point has granted.
func (r *refresh) take(g grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shortest = min(r.shortest, g.ttl)
	r.asked = min(r.asked, r.ttl.in(dialectOf(g.protocol)))
}

// leave records that a registration was left alone, because it is due only later.
func (r *refresh) leave(due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due.IsZero() || due.Before(r.due) {
		r.due = due
	}
}

// next returns how long to wait before the next refresh.
func (r *refresh) next() time.Duration {
	next := r.shared.refreshes.After(r.begun, r.shortest)
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
