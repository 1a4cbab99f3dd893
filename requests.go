package rendezvous

// Requests of all protocols: their checks, and what they do to the storage.

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// requestTimeout bounds what a request does once it is admitted, if it may wait for the
// storage or the authorizer.
const requestTimeout = 10 * time.Second

// caller is the peer at the other end of a connection.
type caller struct {
	peer    peer.ID
	addr    ma.Multiaddr
	ip      netip.Addr // zero: no limits by address
	origin  limit.Origin
	conn    network.Conn
	dialect *wire.Dialect // of the stream
}

func callerOf(c network.Conn, d *wire.Dialect) caller {
	addr := c.RemoteMultiaddr()
	return caller{peer: c.RemotePeer(), addr: addr, ip: limit.AddrOf(addr), origin: limit.OriginOf(addr), conn: c, dialect: d}
}

// requests answers the requests of all streams of a point.
type requests struct {
	storage  Storage
	config   serviceConfig
	waits    bool          // whether a request may wait for the storage or the authorizer
	quick    bool          // whether requests are hardly ever answered late: they need no other machine
	rates    *limit.Budget // requests
	draws    *limit.Draws
	recent   *limit.Recent // nil: the storage is a verifier
	standard *standard     // nil: the standard protocol is not served
	failures logging.Limit
	noRoom   logging.Limit
}

func newRequests(s Storage, config serviceConfig) *requests {
	_, lends := s.(sampler)
	_, inMemory := s.(*memoryStorage)
	q := &requests{
		storage: s,
		config:  config,
		// A timer for each request would take a tenth of the time of a refresh on a kept
		// stream.
		waits: !inMemory || config.authorize != nil,
		quick: lends && config.authorize == nil,
		rates: limit.NewBudget(config.rate, float64(config.burst)),
		draws: limit.NewDraws(limit.DrawCosts{
			Egress:    config.egress,
			Burst:     config.egressBurst,
			Copies:    !lends,
			Small:     smallSample,
			Large:     discoverMemory,
			MaxAnswer: wire.Waku.MaxAnswer,
		}),
	}
	if _, ok := s.(verifier); !ok {
		q.recent = limit.NewRecent(config.quota.Total, config.quota.PerOrigin)
	}
	return q
}

// sweep frees the memory of rate limits that are unused again.
func (q *requests) sweep(context.Context) {
	now := time.Now()
	q.rates.Sweep(now)
	q.draws.Sweep(now)
	if q.recent != nil {
		q.recent.Sweep(now)
	}
}

// previous describes the caller's earlier registration of the bytes of a REGISTER.
type previous struct {
	namespace string        // of the request
	verified  bool          // the peer has registered the same bytes before
	left      time.Duration // until they expire in the namespace; at most 0: they are not registered there
	age       time.Duration // since they were registered there
}

// charge charges the caller for a request. A refresh that is due is cheap, and
// charged to the peer only, so that no other peer at its address can prevent it.
func (q *requests) charge(c *caller, r *wire.Request, now time.Time) (previous, limit.Verdict) {
	k := q.lookUp(c, r, now)
	if price := q.price(c, r.Register.TTL, &k); price != limit.Refresh {
		return k, q.rates.Charge(c.peer, c.origin, price, now)
	}
	return k, q.rates.ChargePeer(c.peer, limit.Refresh, now)
}

// A refresh is cheap if it extends the registration by at least the TTL that it asks for, or
// [MaxTTL] if that is shorter, divided by refreshesPerTTL, and by at least minRefreshGain.
// Clients of this library send about two refreshes per TTL.
const (
	refreshesPerTTL = 4
	minRefreshGain  = time.Second
)

// price returns the price of a REGISTER that asks for a TTL. A refresh is cheap only if it
// extends the registration by enough, so the peers of an address that is over its rate can
// send no more cheap refreshes than their registrations need. A request that shortens the
// registration is charged in advance for the refreshes that are then due earlier.
//
// TTLs of the standard protocol can grow for days, and start again after an UNREGISTER. So at
// a point that serves it, some time must also have passed since the last refresh.
func (q *requests) price(c *caller, ttl int64, k *previous) float64 {
	if k.left <= 0 {
		return limit.Request
	}
	def, most := q.ttls(c)
	granted, err := grantTTL(ttl, def, most)
	switch gain := granted + grace - k.left; {
	case err != nil:
		return limit.Request
	case gain >= max(min(granted, MaxTTL)/refreshesPerTTL, minRefreshGain) && (q.standard == nil || k.age >= minRefreshGain):
		return limit.Refresh
	case gain < 0:
		return limit.Shortening
	default:
		return limit.Request
	}
}

// verifier is a [Storage] that knows whether it holds an envelope of a peer, how long the
// peer is still registered in a namespace, and how long ago it registered there. The
// signature of a refresh with the same bytes need not be checked again. left returns how long
// a peer is still registered in a namespace with whatever envelope. It is at most 0 for none.
type verifier interface {
	hasEnvelope(namespace string, p peer.ID, envelope []byte) (verified bool, left, age time.Duration)
	left(namespace string, p peer.ID) time.Duration
}

// lookUp looks up the caller's earlier registration of the bytes of a REGISTER.
func (q *requests) lookUp(c *caller, r *wire.Request, now time.Time) (k previous) {
	if r.Kind != wire.Register || len(r.Register.Envelope) > peerrecord.MaxSize || len(r.Register.Namespace) > MaxNamespaceSize {
		return previous{}
	}
	k.namespace = string(r.Register.Namespace)
	if v, ok := q.storage.(verifier); ok {
		k.verified, k.left, k.age = v.hasEnvelope(k.namespace, c.peer, r.Register.Envelope)
	} else {
		k.verified, k.left, k.age = q.recent.Lookup(k.namespace, c.peer, r.Register.Envelope, now)
	}
	return k
}

// ttls returns the default TTL and the longest TTL in the caller's protocol.
func (q *requests) ttls(c *caller) (def, most time.Duration) {
	if c.dialect == wire.Standard {
		return q.config.standard.ttl, q.config.standard.maxTTL
	}
	return q.config.ttl, q.config.maxTTL
}

// answer is the answer to a request.
type answer struct {
	RequestAnswered               // for the metrics
	refusal         *StatusError  // nil if the request succeeded
	ttl             time.Duration // granted to a REGISTER
	found           []wire.Found  // by a DISCOVER; from samples
	cookie          []byte        // of the standard protocol, for the next DISCOVER
}

// samples has slices for what a DISCOVER finds. Without reuse, they would be most
// of the garbage of a point.
var samples = sync.Pool{New: func() any { return new([]wire.Found) }}

// release returns the answer's memory.
func (a *answer) release() {
	if a.found != nil {
		clear(a.found)
		empty := a.found[:0]
		samples.Put(&empty)
	}
}

// answer carries out a request that was read at now. k is for a REGISTER, and d is
// what a DISCOVER was charged and given. If declined is not nil, the request is
// refused for that reason instead. An error means that the request gets no answer.
func (q *requests) answer(ctx context.Context, c *caller, r *wire.Request, k previous, d *limit.Draw, declined error, now time.Time) (a answer, err error) {
	switch r.Kind {
	case wire.Register:
		a.Type = RequestRegister
	case wire.Discover:
		a.Type = RequestDiscover
	case wire.Unregister:
		a.Type = RequestUnregister
	default:
		return a, fmt.Errorf("%w: %s is not a request", ErrProtocol, r.Kind)
	}
	if err = declined; err == nil {
		err = q.perform(ctx, c, r, k, d, &a, now)
	}
	a.Duration = time.Since(now)
	if err != nil {
		a.refusal, a.Reason = refusalOf(err)
		a.Status = a.refusal.Status
		q.log(ctx, c, a.Type, err)
	}
	return a, nil
}

// log logs a refused request, and warns of its error if that concerns the operator.
func (q *requests) log(ctx context.Context, c *caller, t RequestType, err error) {
	logging.Log.Debug("request refused", "peer", c.peer, "type", t, "error", err)
	if !concernsOperator(err) || ctx.Err() != nil {
		return
	}
	if n, due := q.failures.Due(); due {
		logging.Log.Warn("requests fail", "error", err, "times", n)
	}
}

func (q *requests) perform(ctx context.Context, c *caller, r *wire.Request, k previous, d *limit.Draw, a *answer, now time.Time) error {
	if q.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	switch r.Kind {
	case wire.Register:
		return q.register(ctx, c, &r.Register, k, a, now)
	case wire.Unregister:
		return q.unregister(ctx, c.peer, string(r.Unregister))
	default:
		return q.discover(ctx, c, &r.Discover, d, a)
	}
}

// logNoRoom logs that there is no room for a lasting registration.
func (q *requests) logNoRoom() {
	if n, due := q.noRoom.Due(); due {
		logging.Log.Warn("no room for more registrations that last: peers are granted less time than they ask for", "ttl", freshTime, "times", n)
	}
}

// register carries out a REGISTER. Its checks are in the order of the table in
// docs/protocol.md.
func (q *requests) register(ctx context.Context, c *caller, r *wire.Registration, k previous, a *answer, now time.Time) (err error) {
	ns := k.namespace
	if ns == "" { // not looked up
		ns = string(r.Namespace)
	}
	if err := checkNamespace(ns, c.dialect.MaxNamespace); err != nil {
		return err
	}
	lasting := c.dialect == wire.Standard
	kind := peerrecord.Usual
	if lasting {
		kind = peerrecord.KindOf(r.Envelope)
	}
	if a.Record, err = q.checkRecord(c, r.Envelope, kind, k, now); err != nil {
		return err
	}
	def, most := q.ttls(c)
	if a.ttl, err = grantTTL(r.TTL, def, most); err != nil {
		return err
	}
	if err := q.authorize(ctx, c, ns, true); err != nil {
		return err
	}
	added := Record{
		Namespace: ns,
		Peer:      c.peer,
		Envelope:  r.Envelope,
		Kind:      RecordKind(kind), // the same numbers
		Deadline:  now.Add(a.ttl + grace),
		Origin:    c.ip,
	}
	if lasting {
		added.Fresh = now.Add(min(a.ttl, freshTime) + grace)
	}
	err = q.add(ctx, added)
	if errors.Is(err, ErrFull) && q.shorten(&added, now) {
		a.ttl = freshTime
		err = q.add(ctx, added)
	}
	if err != nil {
		return err
	}
	if lasting {
		q.standard.registered(added.Peer, added.Kind, added.Deadline, now)
	}
	return nil
}

// shorten lets a lasting registration, for which there is no room, end with its freshness,
// and reports whether that may help. It helps if only the half for lasting registrations is
// full, which others may have filled days ago. A peer that refreshes its registration needs
// no more. It does not help a peer that has a longer registration in the namespace and whose
// record has grown: the peer keeps that one.
func (q *requests) shorten(r *Record, now time.Time) bool {
	if r.Fresh.IsZero() || !r.Fresh.Before(r.Deadline) || q.left(r.Namespace, r.Peer, now) > r.Fresh.Sub(now) {
		return false
	}
	r.Deadline, r.Fresh = r.Fresh, time.Time{}
	q.logNoRoom()
	return true
}

// left returns how long a peer is still registered in a namespace.
func (q *requests) left(namespace string, p peer.ID, now time.Time) time.Duration {
	if v, ok := q.storage.(verifier); ok {
		return v.left(namespace, p)
	}
	return q.recent.Left(namespace, p, now)
}

// unregister carries out an UNREGISTER. After one for all namespaces, what is remembered of
// the peer's registrations ends with their deadlines.
func (q *requests) unregister(ctx context.Context, p peer.ID, namespace string) error {
	err := q.standard.unregister(ctx, p, namespace)
	if err == nil && q.recent != nil {
		q.recent.Forget(namespace, p)
	}
	return err
}

// authorize asks the authorizer, if there is one, whether the caller may register in a
// namespace or discover it.
func (q *requests) authorize(ctx context.Context, c *caller, ns string, register bool) error {
	if q.config.authorize == nil {
		return nil
	}
	return q.config.authorize.check(ctx, Request{Peer: c.peer, Addr: c.addr, Register: register, Namespace: ns})
}

// checkRecord verifies that envelope is a signed peer record, of that kind, of the peer that
// sent it. The peer is charged for the check, whose price depends on the type of its key and
// the size of the record.
func (q *requests) checkRecord(c *caller, envelope []byte, kind peerrecord.Kind, k previous, now time.Time) (RecordCheck, error) {
	if k.verified && peerrecord.KindOf(envelope) == kind {
		return RecordCached, nil
	}
	_, err := peerrecord.OpenPaid(envelope, c.peer, kind, func(key crypto.PubKey) error {
		if q.rates.Charge(c.peer, c.origin, limit.RecordCheck(key, len(envelope)), now) != limit.Serve {
			return errTooMany
		}
		return nil
	})
	if err != nil {
		return RecordUnchecked, err
	}
	return RecordChecked, nil
}

// add adds a registration to the storage, within the limits of the peer, of its address
// and of the point.
func (q *requests) add(ctx context.Context, r Record) error {
	started := time.Now()
	err := q.storage.Add(ctx, r, q.config.quota)
	q.config.metrics.StorageCalled(StorageCalled{Op: StorageAdd, Err: err, Duration: time.Since(started)})
	if err != nil {
		return storageError{err}
	}
	if q.recent != nil {
		q.recent.Add(r.Namespace, r.Peer, r.Envelope, limit.OriginAt(r.Origin), r.Deadline, started)
	}
	return nil
}

// discover carries out a DISCOVER.
func (q *requests) discover(ctx context.Context, c *caller, r *wire.Query, d *limit.Draw, a *answer) error {
	ns := string(r.Namespace)
	if err := checkNamespaceSize(ns, c.dialect.MaxNamespace); err != nil {
		return err
	}
	if err := q.authorize(ctx, c, ns, false); err != nil {
		return err
	}
	n := grantLimit(r.Limit, q.config.discoverLimit)
	var v *visibility // nil: everything
	if ns == "" && q.config.authorize != nil {
		v = &visibility{authorize: q.config.authorize, request: Request{Peer: c.peer, Addr: c.addr}, allowed: make(map[string]bool)}
	}
	// Pages and samples beyond the first one cost as much as a request each.
	pay := func() bool { return q.rates.Charge(c.peer, c.origin, limit.Request, time.Now()) == limit.Serve }
	var err error
	switch {
	case c.dialect == wire.Standard:
		a.found, a.cookie, err = q.standard.page(ctx, &pageQuery{
			namespace: ns,
			kind:      q.standard.kindFor(ctx, c.conn),
			limit:     n,
			draw:      d,
			visible:   v,
			pay:       pay,
		}, r.Cookie, (*samples.Get().(*[]wire.Found))[:0])
		return err
	case v != nil:
		a.found, err = q.sampleVisible(ctx, v, n, d, pay)
		return err
	}
	a.found, err = q.sample(ctx, (*samples.Get().(*[]wire.Found))[:0], ns, n, d)
	return err
}

// Bounds of the samples that are drawn across all namespaces for one request, so that
// enough is left when the authorizer has hidden some.
const (
	maxDraws = 8
	maxDrawn = 4 * MaxDiscoverLimit // of one draw
)

// sampleVisible returns a sample of n across the namespaces that the caller may see. A
// sample that is short of n because of hidden namespaces is drawn again, larger. Each sample
// replaces the one before, so the last one is uniform. pay charges the caller for each but
// the first, and returns false if the caller cannot pay.
func (q *requests) sampleVisible(ctx context.Context, v *visibility, n int, d *limit.Draw, pay func() bool) ([]wire.Found, error) {
	found := (*samples.Get().(*[]wire.Found))[:0]
	size := n
	for i := range maxDraws {
		if i > 0 && !pay() {
			break
		}
		var err error
		if found, err = q.sample(ctx, cut(found, 0), "", size, d); err != nil {
			return found, err
		}
		all := len(found) < size
		if found, err = v.filter(ctx, found); err != nil {
			return found, err
		}
		switch {
		case len(found) >= n:
			return cut(found, n), nil
		case all:
			return found, nil
		}
		size = min(2*size, maxDrawn)
	}
	return roundDown(found), nil
}

// roundDown shortens a sample to a power of two, because its exact length would tell how
// many were hidden.
func roundDown(found []wire.Found) []wire.Found {
	if len(found) == 0 {
		return found
	}
	return cut(found, 1<<(bits.Len(uint(len(found)))-1))
}

// sampler is a [Storage] that appends a sample to a slice, in the form in which an answer
// needs it. Making records of a large sample is most of the garbage of a DISCOVER.
type sampler interface {
	appendSample(ctx context.Context, dst []wire.Found, namespace string, n, maxBytes int) ([]wire.Found, error)
}

// sample appends a sample of the storage to dst.
func (q *requests) sample(ctx context.Context, dst []wire.Found, namespace string, n int, d *limit.Draw) ([]wire.Found, error) {
	err := d.Slowly(ctx, func() (err error) {
		started := time.Now()
		dst, err = q.appendSample(ctx, dst, namespace, n)
		q.config.metrics.StorageCalled(StorageCalled{Op: StorageSample, Err: err, Duration: time.Since(started)})
		if err != nil {
			return storageError{err}
		}
		return nil
	})
	if err != nil {
		return dst, err
	}
	return dst, d.Hold(copied(dst))
}

func (q *requests) appendSample(ctx context.Context, dst []wire.Found, namespace string, n int) ([]wire.Found, error) {
	if s, ok := q.storage.(sampler); ok {
		return s.appendSample(ctx, dst, namespace, n, wire.Waku.MaxAnswer)
	}
	records, err := q.storage.Sample(ctx, namespace, n, wire.Waku.MaxAnswer)
	now := time.Now()
	for i := range records {
		dst = append(dst, foundOf(&records[i], now))
	}
	return dst, err
}
