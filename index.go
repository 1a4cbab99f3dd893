package rendezvous

// The registrations of a point in memory: who is where, until when. The index
// knows no lock, no clock and no goroutine; memory.go has those.
//
// All times in it are nanoseconds since some moment of its owner's choice. They
// never go back, and all are above zero, which stands for no time.

import (
	"strings"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/peer"
)

// registration is one peer in one namespace. A million of them are the bulk of a
// full point's memory, so each word counts; bench-storage prints the sum.
//
// Its envelope is in the slots of its pools, where a sample finds it without coming here.
type registration struct {
	namespace  *namespace
	registrant *registrant
	deadline   int64
	pos        [poolKinds]int32
	prev, next *registration // in the wheel
	sibling    *registration // the same peer's next one, while it has few
}

// namespace exists while it has members.
type namespace struct {
	name    string
	pool    pool
	members int // registrations, those included that the pool has dropped
}

// registrant is a peer that has registrations.
type registrant struct {
	id peer.ID
	// envelope is the one that was registered last. The same bytes in another
	// namespace, or again, share its memory.
	envelope envelope
	few      *registration // a list, to start with
	// many takes them all once they are too many to search one by one.
	many *ledger
}

// envelope is a signed peer record: bytes that nobody writes to.
type envelope string

// bytes returns the envelope's own bytes, which must not be written to.
func (e envelope) bytes() []byte {
	return unsafe.Slice(unsafe.StringData(string(e)), len(e)) //nolint:gosec // it shares what a copy would cost a sample its time for
}

// ledger holds a peer's registrations by namespace.
type ledger struct {
	of       map[*namespace]*registration
	earliest int64 // no later than any deadline in it
}

// fewAtMost is how many registrations of a peer are kept without a map.
const fewAtMost = 16

type index struct {
	namespaces table[string, *namespace]
	peers      table[peer.ID, *registrant]
	all        pool
	wheel      wheel
	count      int
	expired    uint64 // how many there were that have expired
	// ended, where set, hears of each registration that expires.
	ended func(*registration)
}

func newIndex() *index { return &index{all: pool{kind: ofAll}} }

// find returns the registration of a peer in a namespace, or nil.
func (x *index) find(name string, id peer.ID) *registration {
	ns, p := x.namespaces.get(name), x.peers.get(id)
	if ns == nil || p == nil {
		return nil
	}
	return p.in(ns)
}

// admit decides at now whether a registration may be put, and returns the one that it
// would refresh, if any. One that is expired neither makes another one a refresh nor
// counts against a quota.
func (x *index) admit(name string, id peer.ID, q Quota, now int64) (*registration, error) {
	r := x.find(name, id)
	if r != nil && r.deadline > now {
		return r, nil
	}
	if r != nil {
		x.expire(r)
	}
	if q.PerPeer > 0 && x.live(id, now) >= q.PerPeer {
		return nil, ErrPeerLimit
	}
	if q.Total > 0 && x.count >= q.Total {
		x.wheel.expire(now, x.expire)
		if x.count >= q.Total {
			return nil, ErrFull
		}
	}
	return nil, nil
}

// live returns how many registrations of a peer are live at now.
func (x *index) live(id peer.ID, now int64) int {
	p := x.peers.get(id)
	if p == nil {
		return 0
	}
	if p.many == nil {
		n := 0
		for r := p.few; r != nil; r = r.sibling {
			if r.deadline > now {
				n++
			}
		}
		return n
	}
	if p.many.earliest <= now {
		x.expireOf(p.many, now)
	}
	return len(p.many.of)
}

// expireOf ends a peer's own expired registrations.
func (x *index) expireOf(l *ledger, now int64) {
	l.earliest = 0
	for _, r := range l.of {
		switch {
		case r.deadline <= now:
			x.expire(r)
		case l.earliest == 0 || r.deadline < l.earliest:
			l.earliest = r.deadline
		}
	}
}

// put keeps a registration until deadline: it refreshes r, which admit returned at the
// same time, or is new where that is nil. The bytes are copied.
func (x *index) put(r *registration, name string, id peer.ID, bytes []byte, deadline int64) {
	if r != nil {
		x.renew(r, deadline, r.registrant.share(bytes))
		return
	}
	r = &registration{namespace: x.namespace(name), registrant: x.registrant(id), deadline: deadline}
	x.insert(r, r.registrant.share(bytes))
}

// namespace returns the namespace of a name, a new one if need be.
func (x *index) namespace(name string) *namespace {
	ns := x.namespaces.get(name)
	if ns == nil {
		ns = &namespace{name: strings.Clone(name), pool: pool{kind: ofNamespace}}
		x.namespaces.set(ns.name, ns)
	}
	return ns
}

// registrant returns the registrant of an ID, a new one if need be.
func (x *index) registrant(id peer.ID) *registrant {
	p := x.peers.get(id)
	if p == nil {
		p = &registrant{id: peer.ID(strings.Clone(string(id)))}
		x.peers.set(p.id, p)
	}
	return p
}

func (x *index) insert(r *registration, e envelope) {
	x.count++
	r.namespace.members++
	r.namespace.pool.add(r, e)
	x.all.add(r, e)
	x.wheel.file(r)
	r.registrant.add(r)
}

// renew gives r, which is live, another deadline and envelope.
func (x *index) renew(r *registration, deadline int64, e envelope) {
	sooner := deadline < r.deadline
	r.deadline = deadline
	r.namespace.pool.renew(r, e)
	x.all.renew(r, e)
	if sooner {
		x.wheel.remove(r)
		x.wheel.file(r)
	}
	r.registrant.touch(r)
}

// expire removes r, which is expired, with all that is there for it alone.
func (x *index) expire(r *registration) {
	if x.ended != nil {
		x.ended(r)
	}
	x.count--
	x.expired++
	x.wheel.remove(r)
	x.all.remove(r)
	r.registrant.remove(r)
	if r.registrant.empty() {
		x.peers.delete(r.registrant.id)
	}
	ns := r.namespace
	ns.pool.remove(r)
	if ns.members--; ns.members == 0 {
		x.namespaces.delete(ns.name)
	}
}

// evict removes what is expired at now but for the last tick's. It looks at no more
// than so many registrations, and reports whether there may be more.
func (x *index) evict(now int64, looks int) bool {
	return x.wheel.advance(now, looks, x.expire)
}

// sample draws up to n registrations that are live at now from a namespace, or
// from all for "", and appends them to dst.
func (x *index) sample(dst []slot, name string, n int, now int64) []slot {
	if name == "" {
		return x.all.sample(dst, n, now)
	}
	ns := x.namespaces.get(name)
	if ns == nil {
		return dst
	}
	return ns.pool.sample(dst, n, now)
}

// verified reports whether these are the bytes that the peer registered last.
func (x *index) verified(id peer.ID, bytes []byte) bool {
	p := x.peers.get(id)
	return p != nil && string(p.envelope) == string(bytes)
}

func (p *registrant) in(ns *namespace) *registration {
	if p.many != nil {
		return p.many.of[ns]
	}
	r := p.few
	for r != nil && r.namespace != ns {
		r = r.sibling
	}
	return r
}

func (p *registrant) add(r *registration) {
	if p.many == nil && p.crowded() {
		p.spread()
	}
	if p.many == nil {
		r.sibling, p.few = p.few, r
		return
	}
	p.many.of[r.namespace] = r
	p.touch(r)
}

func (p *registrant) crowded() bool {
	n := 0
	for r := p.few; r != nil; r = r.sibling {
		n++
	}
	return n == fewAtMost
}

// spread moves the list into a ledger.
func (p *registrant) spread() {
	p.many = &ledger{of: make(map[*namespace]*registration)}
	for r := p.few; r != nil; {
		p.many.of[r.namespace] = r
		p.touch(r)
		r, r.sibling = r.sibling, nil
	}
	p.few = nil
}

// touch notes that r has a new deadline.
func (p *registrant) touch(r *registration) {
	if p.many == nil {
		return
	}
	if p.many.earliest == 0 || r.deadline < p.many.earliest {
		p.many.earliest = r.deadline
	}
}

func (p *registrant) remove(r *registration) {
	if p.many != nil {
		delete(p.many.of, r.namespace)
		return
	}
	for at := &p.few; *at != nil; at = &(*at).sibling {
		if *at == r {
			*at, r.sibling = r.sibling, nil
			return
		}
	}
}

func (p *registrant) empty() bool {
	return p.few == nil && (p.many == nil || len(p.many.of) == 0)
}

// share returns the envelope of these bytes: the peer's last one if they are the same,
// or else a copy, which is then the last one.
func (p *registrant) share(bytes []byte) envelope {
	if string(p.envelope) != string(bytes) {
		p.envelope = envelope(bytes)
	}
	return p.envelope
}
