// Package registry keeps in memory who is registered in which namespace until when,
// and draws uniform random samples from it.
//
// A [Registry] holds at most one registration for each namespace and peer. A registration
// is live before its deadline and expired at it. An expired one is never sampled and
// counts against no [Quota], but it uses memory until it is evicted: by [Registry.Evict],
// which the owner calls every now and then, or by [Registry.Admit] when it is in the way.
//
// A registration is fresh for as long as it lives, or until an earlier time. What is
// fresh and of the usual kind is sampled.
//
// A registration is found in three ways. A registrant is a peer with all its registrations,
// and finds one by its namespace. A pool is an array from which samples are drawn; there is
// one for each namespace and one for all of them together. The wheel finds the registrations
// that may have expired. A fourth way is the order, once it is needed. Its pages have
// everything that is live. What a call costs does not depend on how many registrations there
// are, beyond a logarithm in the order.
//
// The package has no locks, clocks or goroutines; its owner has those. Times are numbers
// of nanoseconds since a moment that the owner chooses. They are above zero, and now never
// goes back from one call to the next.
package registry

import (
	"errors"
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Quota limits the live registrations. Zero means no limit.
type Quota struct {
	PerPeer   int   // registrations of one peer, over all namespaces
	PerOrigin int   // registrations from one origin; an IPv6 /56 may have 4 times and a /48 16 times as many
	Total     int   // registrations of all peers
	Bytes     int64 // of the namespaces, peer IDs and envelopes of all registrations
}

var (
	// ErrPeerLimit: the peer is at its limit of live registrations.
	ErrPeerLimit = errors.New("peer is at its registration limit")
	// ErrOriginLimit: the origin, or a wider network that it is in, is at its limit of
	// live registrations.
	ErrOriginLimit = errors.New("address is at its registration limit")
	// ErrFull: the registry is at its limit of live registrations or of their bytes.
	ErrFull = errors.New("storage is full")
	// ErrBehind: a quota is reached, but registrations that have expired are still
	// counted. The caller tries again, and may let others use the registry in
	// between.
	ErrBehind = errors.New("expired registrations are not evicted yet")
)

// Admission is a decision of [Registry.Admit].
type Admission struct {
	refreshes *registration // nil: a new registration
	// Origin is where the registration counts: where it comes from, or where it counted
	// until now.
	Origin Origin
	now    int64
}

// Registry holds registrations. One goroutine at a time may use it.
type Registry struct {
	namespaces  table[string, *namespace]
	registrants table[peer.ID, *registrant]
	origins     origins
	all         pool
	wheel       wheel
	count       int
	names       int64 // bytes of namespaces and peer IDs, one of each per registration
	evicted     uint64
	expired     func(namespace string, p peer.ID)
	order       *order // nil until it is needed
}

// New returns an empty registry. If expired is not nil, the registry calls it for each
// registration that it evicts. The function must not use the registry.
func New(expired func(namespace string, p peer.ID)) *Registry {
	return &Registry{all: pool{kind: ofAll}, wheel: wheel{sorted: inNoOrder}, expired: expired}
}

// Admit decides whether e may be registered at now. A refresh of a live registration is
// refused only if it grows beyond the average, which is q.Bytes divided by q.Total, and there
// is no room for the growth. A new one that would exceed q is refused with [ErrPeerLimit],
// [ErrOriginLimit] or [ErrFull], whichever is the first in this order. The error may also be
// [ErrBehind].
//
// A refresh that comes from another origin counts there if q allows it.
//
// Lasting registrations, which live longer than they are fresh, may take half of the total
// and of the bytes. A refresh that makes a registration lasting may be refused for that.
func (x *Registry) Admit(e *Entry, q Quota, now int64) (Admission, error) {
	owner := x.registrants.get(e.Peer)
	r := owner.find(e.Namespace)
	if r != nil && r.deadline <= now {
		x.evict(r)
		r = nil
	}
	if r == nil && q.PerPeer > 0 && owner.live(now, q.PerPeer) {
		return Admission{}, ErrPeerLimit
	}
	err := x.evictFor(r, e, q, now)
	switch {
	case err == nil:
		return Admission{r, e.Origin, now}, nil
	case r != nil && errors.Is(err, ErrOriginLimit):
		return Admission{r, r.origin, now}, nil
	default:
		return Admission{}, err
	}
}

// exceeded returns the error of a quota that e would exceed if it refreshed r, or if
// it were new, for a nil r. Registrations count until they are evicted. The limit of the origin
// is checked last, because a refresh is not refused for it.
func (x *Registry) exceeded(r *registration, e *Entry, q Quota) error {
	full := e.lasting() && x.lastingExceeds(r, e, q) || r != nil && x.growsBeyond(r, e, q)
	var from Origin
	if r != nil {
		from = r.origin
	}
	switch {
	case r != nil && full:
		return ErrFull
	case !x.origins.hasRoom(from, e.Origin, q.PerOrigin):
		return ErrOriginLimit
	case r != nil:
		return nil
	case full,
		q.Total > 0 && x.count >= q.Total,
		q.Bytes > 0 && x.Bytes()+e.size() > q.Bytes:
		return ErrFull
	default:
		return nil
	}
}

// lastingExceeds reports whether lasting registrations would take more than their half of a
// quota if e, which is one, refreshed r.
func (x *Registry) lastingExceeds(r *registration, e *Entry, q Quota) bool {
	if r != nil && r.place != nil && r.place.lasting {
		return false
	}
	var now usage
	if x.order != nil {
		now = x.order.lasting
	}
	return q.Total > 0 && now.count >= max(1, q.Total/2) ||
		q.Bytes > 0 && now.bytes+e.size() > max(1, q.Bytes/2)
}

// growsBeyond reports whether e, which refreshes r, is larger and there are not enough bytes
// for it. Up to the average there is always room, so the records of most hosts may grow, and
// the registrations take at most twice the quota.
func (x *Registry) growsBeyond(r *registration, e *Entry, q Quota) bool {
	if q.Bytes <= 0 || q.Total <= 0 || e.size() <= q.Bytes/int64(q.Total) {
		return false
	}
	growth := e.size() - x.sizeOf(r)
	if growth <= 0 {
		return false
	}
	lasting := e.lasting() && r.place != nil && r.place.lasting
	return x.Bytes()+growth > q.Bytes || lasting && x.order.lasting.bytes+growth > max(1, q.Bytes/2)
}

// sizeOf returns what a live registration counts against a quota of bytes.
func (x *Registry) sizeOf(r *registration) int64 {
	if r.place != nil {
		return r.place.size()
	}
	size := namesSize(r.namespace.name, r.registrant.id)
	if s := x.all.slot(r); s != nil {
		size += int64(len(s.envelope))
	}
	return size
}

// maxEvictions is the largest number of expired registrations that one Admit or Page
// evicts.
const maxEvictions = 256

// evictFor evicts expired registrations until e exceeds no quota. It returns the error of
// exceeded if none is left to evict, and [ErrBehind] if that takes long.
func (x *Registry) evictFor(r *registration, e *Entry, q Quota, now int64) error {
	for range maxEvictions {
		err := x.exceeded(r, e, q)
		if err == nil || !x.evictOne(now) {
			return err
		}
	}
	return ErrBehind
}

// Put registers e as Admit has admitted it, with no other call in between.
//
// It copies the envelope, unless the peer registered the same bytes last, in whatever
// namespace: then the registrations share them.
func (x *Registry) Put(a Admission, e *Entry) {
	if x.order == nil && e.NeedsOrder() {
		x.Order(rand.Uint64(), 1)
	}
	r := a.refreshes
	if r == nil {
		r = x.add(e, a.Origin)
	} else {
		x.refresh(r, e.Deadline, a.Origin)
	}
	envelope := r.registrant.intern(e.Envelope)
	if x.order != nil {
		x.order.put(r, envelope, e, a.now)
	}
	if fresh := e.fresh(); e.Kind == usual && fresh > a.now {
		x.sampled(r, fresh, envelope)
	} else {
		x.unsampled(r)
	}
}

// namespace returns the namespace with a name, and adds it if it is new.
func (x *Registry) namespace(name string) *namespace {
	ns := x.namespaces.get(name)
	if ns == nil {
		ns = newNamespace(name)
		x.namespaces.add(ns.name, ns)
	}
	return ns
}

// registrant returns the registrant with an ID, and adds it if it is new.
func (x *Registry) registrant(id peer.ID) *registrant {
	p := x.registrants.get(id)
	if p == nil {
		p = newRegistrant(id)
		x.registrants.add(p.id, p)
	}
	return p
}

// add adds a new registration, which is in no pool yet.
func (x *Registry) add(e *Entry, from Origin) *registration {
	p := x.registrant(e.Peer)
	r := p.newRegistration()
	*r = registration{namespace: x.namespace(e.Namespace), registrant: p, deadline: e.Deadline, origin: from}
	x.count++
	x.names += namesSize(e.Namespace, e.Peer)
	x.origins.add(from)
	r.namespace.members++
	x.wheel.add(r)
	p.add(r)
	return r
}

// refresh gives r, which is live, another deadline and origin.
func (x *Registry) refresh(r *registration, deadline int64, from Origin) {
	// The wheel notices a later deadline when it comes to the old one.
	move := deadline < r.deadline || x.wheel.isCurrent(deadline)
	r.deadline = deadline
	if move {
		x.wheel.remove(r)
		x.wheel.add(r)
	}
	if from != r.origin {
		x.origins.remove(r.origin)
		x.origins.add(from)
		r.origin = from
	}
}

// sampled puts r into its pools, or updates it there.
func (x *Registry) sampled(r *registration, fresh int64, envelope string) {
	if p := &r.namespace.pool; !p.update(r, fresh, envelope) {
		p.add(Slot{fresh, envelope, r})
	}
	if !x.all.update(r, fresh, envelope) {
		x.all.add(Slot{fresh, envelope, r})
	}
}

// unsampled takes r out of its pools.
func (x *Registry) unsampled(r *registration) {
	r.namespace.pool.remove(r)
	x.all.remove(r)
}

// Ordered reports whether the registry keeps the order.
func (x *Registry) Ordered() bool { return x.order != nil }

// Order begins to keep the order. The registrations that exist come first, in any order.
// next, above 0, is the first sequence that is given out. The cursors of an earlier registry
// with the same identity are understood; it gave out no sequence from next on. It does
// nothing if the order is kept already.
func (x *Registry) Order(identity, next uint64) {
	if x.order != nil {
		return
	}
	x.order = newOrder(identity, next)
	for p := range x.registrants.values {
		for _, r := range p.all() {
			if s := x.all.slot(r); s != nil { // or else it has expired
				x.order.put(r, s.envelope, &Entry{Deadline: r.deadline}, 0)
			}
		}
	}
}

// Next returns the sequence that the next Put gives out, or 0 if no order is kept.
func (x *Registry) Next() uint64 {
	if x.order == nil {
		return 0
	}
	return x.order.next
}

// Page appends to dst the first n registrations of a namespace and a kind that come after a
// cursor and are live at now, in the order in which they were put last, and returns the
// cursor at their end. For the namespace "" it pages through all namespaces. A cursor that
// the registry does not know is before the first. It leaves out what would exceed maxBytes,
// as [Registry.Sample] does, but never the first one. If n is below one, it appends none.
//
// It evicts expired registrations that are in the way. If these are many, it returns
// [ErrBehind] and nothing else, and the caller tries again.
func (x *Registry) Page(dst []*Place, namespace string, kind Kind, after string, n, maxBytes int, now int64) ([]*Place, string, error) {
	x.Order(rand.Uint64(), 1)
	sequence := x.order.parse(after)
	from := len(dst)
	if ns := x.namespaces.get(namespace); ns != nil || namespace == "" {
		var err error
		if dst, err = x.follow(dst, x.order.track(ns, kind), sequence, n, now); err != nil {
			return dst[:from], "", err
		}
	}
	if maxBytes > 0 {
		dst = cutPage(dst, from, namespace, maxBytes)
	}
	if len(dst) > from {
		sequence = dst[len(dst)-1].sequence
	}
	return dst, x.order.cursor(sequence), nil
}

// cutPage shortens places so that those after the first n do not exceed maxBytes, unless
// there is one only. They are in a namespace, or in any for "".
func cutPage(places []*Place, n int, namespace string, maxBytes int) []*Place {
	for i := n; i < len(places); i++ {
		name := namespace
		if name == "" {
			name = places[i].Namespace()
		}
		if maxBytes -= len(name) + len(places[i].envelope); maxBytes < 0 && i > n {
			return places[:i]
		}
	}
	return places
}

// follow appends n registrations of a track that come after a sequence and are live at now.
// It evicts what it finds expired, and returns ErrBehind if that is much.
func (x *Registry) follow(dst []*Place, t *track, after uint64, n int, now int64) ([]*Place, error) {
	var expired []*Place
	for n > 0 && len(expired) < maxEvictions {
		before := len(dst)
		dst = t.follow(dst, after, min(n, longestStep))
		found := dst[before:]
		dst = dst[:before]
		if len(found) == 0 {
			break
		}
		after = found[len(found)-1].sequence
		prefetchPlaces(found)
		for _, p := range found {
			if p.deadline <= now {
				expired = append(expired, p)
			} else {
				dst = append(dst, p)
				n--
			}
		}
	}
	for _, p := range expired {
		x.evict(x.registrants.get(p.peer).find(p.Namespace()))
	}
	if len(expired) >= maxEvictions {
		return dst, ErrBehind
	}
	return dst, nil
}

// longestStep is how many places of the order are looked at together.
const longestStep = 1024

// Renew makes the registrations of p that are live at now fresh until a time, unless they
// are fresh for longer or end earlier. It does not change the order.
func (x *Registry) Renew(p peer.ID, fresh, now int64) {
	if x.order == nil {
		return // all are fresh until they end
	}
	for _, r := range x.registrants.get(p).all() {
		pl := r.place
		until := min(fresh, r.deadline)
		if pl == nil || pl.track.key.kind != usual || until <= now || until <= x.all.deadlineOf(r) {
			continue
		}
		x.sampled(r, until, pl.envelope)
	}
}

// Remove removes the registration of p in a namespace, or all of p for "".
func (x *Registry) Remove(namespace string, p peer.ID) {
	owner := x.registrants.get(p)
	if namespace == "" {
		for _, r := range owner.all() {
			x.remove(r)
		}
	} else if r := owner.find(namespace); r != nil {
		x.remove(r)
	}
}

// NamespacesOf returns the namespaces in which the registry holds a registration of p.
// These may have expired.
func (x *Registry) NamespacesOf(p peer.ID) []string {
	var names []string
	for _, r := range x.registrants.get(p).all() {
		names = append(names, r.namespace.name)
	}
	return names
}

// Evict removes expired registrations. It looks at no more than most registrations, and
// reports whether there may be more to look at. If there are not, all that expired more
// than 67 ms before now are gone, and so is the memory that they used.
func (x *Registry) Evict(now int64, most int) (more bool) {
	for range most {
		r, ok := x.wheel.poll(now)
		if !ok {
			return false
		}
		if r != nil {
			x.evict(r)
		}
	}
	return true
}

// evictOne looks at one registration, and evicts it if it has expired at now. It returns
// false if there was none to look at, and so none that has expired.
func (x *Registry) evictOne(now int64) bool {
	r, ok := x.wheel.poll(now)
	if !ok {
		r, ok = x.wheel.pollCurrent(now)
	}
	if r != nil {
		x.evict(r)
	}
	return ok
}

// evict removes r, which has expired.
func (x *Registry) evict(r *registration) {
	namespace, p := r.namespace.name, r.registrant.id
	x.evicted++
	x.remove(r)
	if x.expired != nil {
		x.expired(namespace, p)
	}
}

// remove removes r, and its registrant and namespace if it was their last.
func (x *Registry) remove(r *registration) {
	x.count--
	x.names -= namesSize(r.namespace.name, r.registrant.id)
	x.origins.remove(r.origin)
	x.wheel.remove(r)
	x.unsampled(r)
	if x.order != nil {
		x.order.remove(r)
	}
	p := r.registrant
	p.remove(r)
	if p.empty() {
		x.registrants.delete(p.id)
	}
	ns := r.namespace
	if ns.members--; ns.members == 0 {
		x.namespaces.delete(ns.name)
	}
}

// Sample draws n registrations of a namespace that are live at now, or all if there are
// fewer, uniformly and without repeats. It appends them to dst in random order. For the
// namespace "" it draws from all namespaces. If n is below one, it draws none. It leaves
// out the first registration whose namespace and envelope would make those that were
// drawn exceed maxBytes, and all after it. A maxBytes of 0 is no bound.
func (x *Registry) Sample(dst []Slot, namespace string, n, maxBytes int, now int64) []Slot {
	from := len(dst)
	if namespace == "" {
		dst = x.all.sample(dst, n, now)
	} else if ns := x.namespaces.get(namespace); ns != nil {
		dst = ns.pool.sample(dst, n, now)
	}
	if maxBytes > 0 {
		dst = cut(dst, from, namespace, maxBytes)
	}
	return dst
}

// cut shortens slots so that those after the first n do not exceed maxBytes. They are in
// a namespace, or in any for "".
func cut(slots []Slot, n int, namespace string, maxBytes int) []Slot {
	for i := n; i < len(slots); i++ {
		s := &slots[i]
		name := namespace
		if name == "" {
			name = s.Namespace()
		}
		if maxBytes -= len(name) + len(s.envelope); maxBytes < 0 {
			clear(slots[i:])
			return slots[:i]
		}
	}
	return slots
}

// Has reports whether the registry holds a registration of p in a namespace. The
// registration may have expired.
func (x *Registry) Has(namespace string, p peer.ID) bool {
	return x.registrants.get(p).find(namespace) != nil
}

// Deadline returns when the registration of p in a namespace ends, and 0 if the registry
// holds none.
func (x *Registry) Deadline(namespace string, p peer.ID) int64 {
	if r := x.registrants.get(p).find(namespace); r != nil {
		return r.deadline
	}
	return 0
}

// Age returns how long ago the registration of p in a namespace was added or replaced, to
// 67 ms. It returns 0 if the registry holds none, and a long time if it keeps no order.
func (x *Registry) Age(namespace string, p peer.ID, now int64) int64 {
	switch r := x.registrants.get(p).find(namespace); {
	case r == nil:
		return 0
	case r.place == nil:
		return now
	default:
		return r.place.age(now)
	}
}

// HasEnvelope reports whether envelope is what p registered last. It is false once all
// registrations of p are evicted.
func (x *Registry) HasEnvelope(p peer.ID, envelope []byte) bool {
	owner := x.registrants.get(p)
	return owner != nil && owner.envelope == string(envelope)
}

// Len returns how many registrations the registry holds, including expired ones that are
// not evicted yet.
func (x *Registry) Len() int { return x.count }

// Bytes returns the size of the namespaces, peer IDs and envelopes of the registrations.
// Expired ones may count until they are evicted.
func (x *Registry) Bytes() int64 {
	if x.order != nil {
		return x.names + x.order.size
	}
	return x.names + x.all.size
}

// Namespaces returns how many namespaces those registrations are in.
func (x *Registry) Namespaces() int { return x.namespaces.len() }

// Expired returns how many registrations have expired and been evicted so far.
func (x *Registry) Expired() uint64 { return x.evicted }
