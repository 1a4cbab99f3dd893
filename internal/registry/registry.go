// Package registry keeps in memory who is registered in which namespace until when,
// and draws uniform random samples from it.
//
// A [Registry] holds at most one registration for each namespace and peer. A registration
// is live before its deadline and expired at it. An expired one is never sampled and
// counts against no [Quota], but it uses memory until it is evicted: by [Registry.Evict],
// which the owner calls every now and then, or by [Registry.Admit] when it is in the way.
//
// There are three ways to a registration. A registrant is a peer with all its
// registrations, and finds one by its namespace. A pool is an array from which samples
// are drawn; there is one for each namespace and one for all of them together. The wheel
// finds the registrations that may have expired. What a call costs does not depend on how
// many registrations there are.
//
// The package knows no lock, clock or goroutine; its owner has those. Times are numbers of
// nanoseconds since a moment that the owner chooses. They are above zero, and now never
// goes back from one call to the next.
package registry

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Quota limits how many live registrations there may be. Zero means no limit.
type Quota struct {
	PerPeer int // registrations of one peer, over all namespaces
	Total   int // registrations of all peers
}

var (
	// ErrPeerLimit: the peer has as many live registrations as it may have.
	ErrPeerLimit = errors.New("peer is at its registration limit")
	// ErrFull: there are as many live registrations as there may be.
	ErrFull = errors.New("storage is full")
)

// Registry holds registrations. One goroutine at a time may use it.
type Registry struct {
	namespaces  table[string, *namespace]
	registrants table[peer.ID, *registrant]
	all         pool
	wheel       wheel
	count       int
	evicted     uint64
	expired     func(namespace string, p peer.ID)
}

// New returns an empty registry. If expired is not nil, the registry calls it for each
// registration that it evicts. The function must not use the registry.
func New(expired func(namespace string, p peer.ID)) *Registry {
	return &Registry{all: pool{kind: ofAll}, expired: expired}
}

// Admit decides whether p may register in a namespace at now. It returns the live
// registration that p has there already, which Put would refresh and no quota refuses.
// If there is none, it returns nil, or [ErrPeerLimit] or [ErrFull] if a new registration
// would exceed q.
func (x *Registry) Admit(namespace string, p peer.ID, q Quota, now int64) (*Registration, error) {
	owner := x.registrants.get(p)
	if r := owner.find(namespace); r != nil {
		if r.deadline > now {
			return r, nil
		}
		x.evict(r)
	}
	if q.PerPeer > 0 && owner.live(now, q.PerPeer) {
		return nil, ErrPeerLimit
	}
	if q.Total > 0 && x.count >= q.Total {
		x.evictOne(now)
		if x.count >= q.Total {
			return nil, ErrFull
		}
	}
	return nil, nil
}

// Put makes the registration that Admit admitted with the same namespace and peer, and
// with no other call in between. It refreshes r, which Admit returned, or adds a new
// registration if r is nil. The registration holds envelope and ends at deadline.
//
// Put copies envelope, unless the peer registered the same bytes last, in whatever
// namespace: then the registrations share them.
func (x *Registry) Put(r *Registration, namespace string, p peer.ID, envelope []byte, deadline int64) {
	if r != nil {
		x.refresh(r, r.registrant.intern(envelope), deadline)
		return
	}
	r = &Registration{namespace: x.namespace(namespace), registrant: x.registrant(p), deadline: deadline}
	x.add(r, r.registrant.intern(envelope))
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

func (x *Registry) add(r *Registration, envelope string) {
	x.count++
	r.namespace.members++
	s := Slot{r.deadline, envelope, r}
	r.namespace.pool.add(s)
	x.all.add(s)
	x.wheel.add(r)
	r.registrant.add(r)
}

// refresh gives r, which is live, another envelope and deadline.
func (x *Registry) refresh(r *Registration, envelope string, deadline int64) {
	sooner := deadline < r.deadline
	r.deadline = deadline
	r.namespace.pool.refresh(r, envelope)
	x.all.refresh(r, envelope)
	if sooner { // a later deadline is seen when the wheel comes to the old one
		x.wheel.remove(r)
		x.wheel.add(r)
	}
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

// evictOne evicts a registration that has expired at now, if there is one.
func (x *Registry) evictOne(now int64) {
	r, ok := x.wheel.poll(now)
	for ok && r == nil {
		r, ok = x.wheel.poll(now)
	}
	if !ok {
		r = x.wheel.pollCurrent(now)
	}
	if r != nil {
		x.evict(r)
	}
}

// evict removes r, which has expired, and its registrant and namespace if it was their last.
func (x *Registry) evict(r *Registration) {
	x.count--
	x.evicted++
	x.wheel.remove(r)
	x.all.remove(r)
	p := r.registrant
	p.remove(r)
	if len(p.registrations) == 0 {
		x.registrants.delete(p.id)
	}
	ns := r.namespace
	ns.pool.remove(r)
	if ns.members--; ns.members == 0 {
		x.namespaces.delete(ns.name)
	}
	if x.expired != nil {
		x.expired(ns.name, p.id)
	}
}

// Sample draws n registrations of a namespace that are live at now, or all if there are
// fewer, uniformly and without repeats. It appends them to dst in random order. For the
// namespace "" it draws from all namespaces. If n is below one, it draws none.
func (x *Registry) Sample(dst []Slot, namespace string, n int, now int64) []Slot {
	if namespace == "" {
		return x.all.sample(dst, n, now)
	}
	ns := x.namespaces.get(namespace)
	if ns == nil {
		return dst
	}
	return ns.pool.sample(dst, n, now)
}

// Has reports whether the registry holds a registration of p in a namespace. The
// registration may have expired.
func (x *Registry) Has(namespace string, p peer.ID) bool {
	return x.registrants.get(p).find(namespace) != nil
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

// Namespaces returns how many namespaces those registrations are in.
func (x *Registry) Namespaces() int { return x.namespaces.len() }

// Expired returns how many registrations have expired and been evicted so far.
func (x *Registry) Expired() uint64 { return x.evicted }
