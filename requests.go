package rendezvous

// Requests: the checks of a REGISTER and a DISCOVER, and what they do to the storage.

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// requestTimeout bounds a request at a point, from read to answer ready.
const requestTimeout = 10 * time.Second

// caller is the peer at the other end of a connection.
type caller struct {
	peer   peer.ID
	addr   ma.Multiaddr
	ip     netip.Addr // zero: no limits by address
	origin limit.Origin
}

func callerOf(c network.Conn) caller {
	addr := c.RemoteMultiaddr()
	return caller{peer: c.RemotePeer(), addr: addr, ip: limit.AddrOf(addr), origin: limit.OriginOf(addr)}
}

// requests answers the requests of all streams of a point.
type requests struct {
	storage  Storage
	config   serviceConfig
	rates    *limit.Requests
	failures logging.Limit
}

func newRequests(s Storage, config serviceConfig) *requests {
	return &requests{
		storage: s,
		config:  config,
		rates:   limit.NewRequests(config.rate, config.burst),
	}
}

// sweep frees the memory of limits that no longer hold anybody back.
func (q *requests) sweep(now time.Time) {
	q.rates.Sweep(now)
}

// answer is the answer to a request.
type answer struct {
	RequestAnswered               // for the metrics
	refusal         *StatusError  // nil if the request succeeded
	ttl             time.Duration // granted to a REGISTER
	found           []wire.Found  // by a DISCOVER; from samples
}

// samples has slices for what a DISCOVER finds. They are garbage enough to keep the
// collector busy.
var samples = sync.Pool{New: func() any { return new([]wire.Found) }}

// release returns the answer's memory.
func (a *answer) release() {
	if a.found != nil {
		clear(a.found)
		empty := a.found[:0]
		samples.Put(&empty)
	}
}

// answer carries out a request that was read at now. If declined is not nil, the request
// is refused for that reason instead. An error means that the request gets no answer.
func (q *requests) answer(ctx context.Context, c *caller, r *wire.Request, declined error, now time.Time) (a answer, err error) {
	switch r.Kind {
	case wire.Register:
		a.Type = RequestRegister
	case wire.Discover:
		a.Type = RequestDiscover
	default:
		return a, fmt.Errorf("%w: %s is not a request", ErrProtocol, r.Kind)
	}
	if err = declined; err == nil {
		err = q.perform(ctx, c, r, &a, now)
	}
	a.Duration = time.Since(now)
	if err != nil {
		a.refusal, a.Reason = refusalOf(err)
		a.Status = a.refusal.Status
		q.log(ctx, c, a.Type, err)
	}
	return a, nil
}

// log logs a refused request, and its error more loudly if the operator should know.
func (q *requests) log(ctx context.Context, c *caller, t RequestType, err error) {
	logging.Log.Debug("request refused", "peer", c.peer, "type", t, "error", err)
	if !concernsOperator(err) || ctx.Err() != nil {
		return
	}
	if n, due := q.failures.Due(); due {
		logging.Log.Warn("requests fail", "error", err, "times", n)
	}
}

func (q *requests) perform(ctx context.Context, c *caller, r *wire.Request, a *answer, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if r.Kind == wire.Register {
		return q.register(ctx, c, &r.Register, a, now)
	}
	return q.discover(ctx, c, &r.Discover, a)
}

// register carries out a REGISTER. Its checks are in the order of the table in
// docs/protocol.md.
func (q *requests) register(ctx context.Context, c *caller, r *wire.Registration, a *answer, now time.Time) (err error) {
	ns := string(r.Namespace)
	if err := checkNamespace(ns); err != nil {
		return err
	}
	if a.Record, err = q.checkRecord(c.peer, r.Envelope); err != nil {
		return err
	}
	ttl, err := grantTTL(r.TTL, q.config.ttl, q.config.maxTTL)
	if err != nil {
		return err
	}
	if err := q.authorize(ctx, c, ns, true); err != nil {
		return err
	}
	a.ttl = ttl
	return q.add(ctx, Record{
		Namespace: ns,
		Peer:      c.peer,
		Envelope:  r.Envelope,
		Deadline:  now.Add(ttl + grace),
		Origin:    c.ip,
	})
}

// authorize asks the authorizer, if there is one, whether the caller may register in a
// namespace or discover it.
func (q *requests) authorize(ctx context.Context, c *caller, ns string, register bool) error {
	if q.config.authorize == nil {
		return nil
	}
	return q.config.authorize.check(ctx, Request{Peer: c.peer, Addr: c.addr, Register: register, Namespace: ns})
}

// verifier is a [Storage] that knows whether it holds an envelope of a peer. The
// signature of a refresh with the same bytes need not be checked again.
type verifier interface {
	hasEnvelope(p peer.ID, envelope []byte) bool
}

// checkRecord verifies that envelope is the signed peer record of the peer that sent it.
func (q *requests) checkRecord(from peer.ID, envelope []byte) (RecordCheck, error) {
	if v, ok := q.storage.(verifier); ok && v.hasEnvelope(from, envelope) {
		return RecordCached, nil
	}
	if _, err := peerrecord.Open(envelope, from); err != nil {
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
	return nil
}

// discover carries out a DISCOVER.
func (q *requests) discover(ctx context.Context, c *caller, r *wire.Query, a *answer) error {
	ns := string(r.Namespace)
	if err := checkNamespaceSize(ns); err != nil {
		return err
	}
	if err := q.authorize(ctx, c, ns, false); err != nil {
		return err
	}
	var err error
	a.found, err = q.sample(ctx, *samples.Get().(*[]wire.Found), ns, grantLimit(r.Limit, q.config.discoverLimit))
	if err != nil || ns != "" {
		return err
	}
	a.found, err = q.config.authorize.visible(ctx, Request{Peer: c.peer, Addr: c.addr}, a.found)
	return err
}

// sampler is a [Storage] that appends a sample to a slice, in the form in which an answer
// needs it. Making records of a large sample is most of the garbage of a DISCOVER.
type sampler interface {
	appendSample(ctx context.Context, dst []wire.Found, namespace string, n, maxBytes int) ([]wire.Found, error)
}

// sample appends a sample of the storage to dst.
func (q *requests) sample(ctx context.Context, dst []wire.Found, namespace string, n int) ([]wire.Found, error) {
	started := time.Now()
	found, err := q.appendSample(ctx, dst, namespace, n)
	q.config.metrics.StorageCalled(StorageCalled{Op: StorageSample, Err: err, Duration: time.Since(started)})
	if err != nil {
		return found, storageError{err}
	}
	return found, nil
}

func (q *requests) appendSample(ctx context.Context, dst []wire.Found, namespace string, n int) ([]wire.Found, error) {
	if s, ok := q.storage.(sampler); ok {
		return s.appendSample(ctx, dst, namespace, n, wire.Waku.MaxAnswer)
	}
	records, err := q.storage.Sample(ctx, namespace, n, wire.Waku.MaxAnswer)
	now := time.Now()
	for _, r := range records {
		dst = append(dst, wire.Found{Namespace: r.Namespace, Envelope: r.Envelope, TTL: remainingSeconds(r.Deadline.Sub(now))})
	}
	return dst, err
}
