package rendezvous

// What a point does with a request: REGISTER, DISCOVER, and what they are answered.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// answer is what a request of a kind gets.
type answer struct {
	kind    pb.Message_MessageType
	refused *StatusError  // or nil, and then
	ttl     time.Duration // what a REGISTER is granted, or
	found   []listing     // what a DISCOVER found, in one of samples
}

// write writes the answer's frame to w, a short one through buf, and returns how
// many registrations were in it.
func (a *answer) write(w io.Writer, buf []byte) (sent int, err error) {
	switch {
	case a.refused != nil:
		if buf, err = appendFrame(buf, refusal(a.kind, a.refused)); err != nil {
			return 0, err
		}
		_, err = w.Write(buf)
	case a.kind == pb.Message_REGISTER:
		_, err = w.Write(appendRegistered(buf, a.ttl))
	default:
		buffers := &smallBuffers
		if len(a.found) > smallSample {
			buffers = &bigBuffers
		}
		through := buffers.Get().(*[]byte)
		defer buffers.Put(through)
		return writeDiscoverResponse(w, *through, a.found)
	}
	return 0, err
}

// recycle gives back what the answer is made of, which is garbage enough to keep
// the collector busy otherwise.
func (a *answer) recycle() {
	if a.found != nil {
		clear(a.found)
		empty := a.found[:0]
		samples.Put(&empty)
	}
}

var (
	samples      = sync.Pool{New: func() any { return new([]listing) }}
	smallBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, smallAnswer)) }}
	bigBuffers   = sync.Pool{New: func() any { return new(make([]byte, 0, bigAnswer)) }}
)

// respond does what a request that was read at now asks, or declines it for the reason
// that is given, and returns the answer. An error means that the request has none.
func (t *term) respond(c *caller, r *request, declined error, now time.Time) (a answer, err error) {
	a.kind = r.kind
	switch {
	case r.kind != pb.Message_REGISTER && r.kind != pb.Message_DISCOVER:
		return a, fmt.Errorf("%w: %s is not a request", ErrProtocol, r.kind)
	case declined != nil:
		err = declined
	case !t.mayWait: // so a limit of time has nothing to limit
		err = t.perform(t.ctx, c, r, &a, now)
	default:
		err = t.performInTime(c, r, &a, now)
	}
	t.config.metrics.Answered(r.kind, err, time.Since(now))
	if err != nil {
		a.refused = t.refuse(c, r, err)
	}
	return a, nil
}

func (t *term) performInTime(c *caller, r *request, a *answer, now time.Time) error {
	ctx, cancel := context.WithTimeout(t.ctx, streamTimeout)
	defer cancel()
	return t.perform(ctx, c, r, a, now)
}

func (t *term) perform(ctx context.Context, c *caller, r *request, a *answer, now time.Time) (err error) {
	if r.kind == pb.Message_REGISTER {
		a.ttl, err = t.register(ctx, c, &r.register, now)
	} else {
		a.found, err = t.discover(ctx, c, &r.discover, *samples.Get().(*[]listing))
	}
	return err
}

// refuse returns what a request is refused with, for an error that the operator hears of.
func (t *term) refuse(c *caller, r *request, err error) *StatusError {
	log.Debug("request refused", "peer", c.peer, "type", r.kind, "error", err)
	t.report(err)
	return answerTo(err)
}

// register is REGISTER, its checks in the order of the wire's table. It returns
// the granted TTL.
func (t *term) register(ctx context.Context, c *caller, r *claim, now time.Time) (time.Duration, error) {
	ns := string(r.namespace)
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	if err := t.checkOwner(c.peer, r.envelope); err != nil {
		return 0, err
	}
	ttl, err := grantTTL(r.ttl, t.config.ttl, t.config.maxTTL)
	if err != nil {
		return 0, err
	}
	if err := t.authorize(ctx, c, ns, true); err != nil {
		return 0, err
	}
	return ttl, t.add(ctx, c, now, &Record{
		Namespace: ns,
		Peer:      c.peer,
		Envelope:  r.envelope,
		Deadline:  now.Add(ttl + grace),
	})
}

// authorize asks the authorizer, if there is one, whether the caller may register in a
// namespace, or discover it.
func (t *term) authorize(ctx context.Context, c *caller, ns string, register bool) error {
	if t.config.authorize == nil {
		return nil
	}
	return t.config.authorize.check(ctx, Request{Peer: c.peer, Addr: c.addr, Register: register, Namespace: ns})
}

// verifier is a [Storage] that remembers which bytes it was given for a peer, so
// that a refresh with the same record need not be verified again.
type verifier interface {
	verified(p peer.ID, envelope []byte) bool
}

// checkOwner verifies that envelope is the signed peer record of the peer that sent it.
func (t *term) checkOwner(from peer.ID, envelope []byte) error {
	if v, ok := t.storage.(verifier); ok && v.verified(from, envelope) {
		t.config.metrics.Verified(true)
		return nil
	}
	_, rec, err := openRecord(envelope)
	if err != nil {
		return err
	}
	if rec.PeerID != from {
		return refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record is another peer's than the connection's")
	}
	t.config.metrics.Verified(false)
	return nil
}

// add keeps a registration, within the limits of the caller's address, of the peer
// and of the point.
func (t *term) add(ctx context.Context, c *caller, now time.Time, r *Record) error {
	key := t.ledger.key(r.Namespace, r.Peer)
	fresh, err := t.ledger.reserve(c, key, r.Deadline, now)
	if err != nil {
		return err
	}
	if err := t.storage.Add(ctx, *r, t.config.quota); err != nil {
		if fresh {
			t.ledger.release(key)
		}
		return storageError{err}
	}
	t.ledger.keep(c, key, r.Deadline)
	return nil
}

// discover is DISCOVER. It appends what it finds to dst, which is empty.
func (t *term) discover(ctx context.Context, c *caller, q *query, dst []listing) ([]listing, error) {
	ns := string(q.namespace)
	if err := checkNamespaceSize(ns); err != nil {
		return nil, err
	}
	if err := t.authorize(ctx, c, ns, false); err != nil {
		return nil, err
	}
	found, err := sample(ctx, t.storage, dst, ns, grantLimit(q.limit, t.config.discoverLimit))
	switch {
	case err != nil:
		return found, storageError{err}
	case ns != "":
		return found, nil
	}
	return t.config.authorize.visible(ctx, Request{Peer: c.peer, Addr: c.addr}, found)
}

// sampler is a [Storage] that appends what an answer needs of a sample to a slice: to
// make records of a large one is most of the garbage that a DISCOVER makes.
type sampler interface {
	appendSample(ctx context.Context, dst []listing, namespace string, n int) ([]listing, error)
}

// sample appends a sample of what s holds to dst.
func sample(ctx context.Context, s Storage, dst []listing, namespace string, n int) ([]listing, error) {
	if s, ok := s.(sampler); ok {
		return s.appendSample(ctx, dst, namespace, n)
	}
	records, err := s.Sample(ctx, namespace, n)
	now := time.Now()
	for _, r := range records {
		dst = append(dst, listing{namespace: r.Namespace, envelope: r.Envelope, left: r.Deadline.Sub(now)})
	}
	return dst, err
}

// report logs an error of which the operator should know: that the storage is full,
// or failed.
func (t *term) report(err error) {
	switch {
	case isRefusal(err), errors.Is(err, ErrPeerLimit), errors.Is(err, errIPLimit), t.ctx.Err() != nil:
	default:
		if n, due := t.failures.due(); due {
			log.Warn("requests fail", "error", err, "times", n)
		}
	}
}

// storageError is an error of the storage. Whatever is in it, also what another point
// has told the storage, is not for peers.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// asRefusal returns the refusal that an error is, if it is one that peers are told.
func asRefusal(err error) (*StatusError, bool) {
	if _, inside := errors.AsType[storageError](err); inside {
		return nil, false
	}
	refused, ok := errors.AsType[*StatusError](err)
	if !ok || refused.Status == pb.Message_OK || pb.Message_ResponseStatus_name[int32(refused.Status)] == "" {
		return nil, false // or one of an authorizer's that means nothing on the wire
	}
	return refused, true
}

func isRefusal(err error) bool {
	_, ok := asRefusal(err)
	return ok
}

// answerTo is what a peer is told of an error: nothing of what goes on inside.
func answerTo(err error) *StatusError {
	refused, ok := asRefusal(err)
	switch {
	case ok:
		return refused
	case errors.Is(err, ErrPeerLimit):
		return refuse(pb.Message_E_NOT_AUTHORIZED, "too many registrations of this peer")
	case errors.Is(err, errIPLimit):
		return refuse(pb.Message_E_UNAVAILABLE, "too many registrations from this IP address")
	case errors.Is(err, ErrFull):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point is full")
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point cannot serve this now")
	default:
		return refuse(pb.Message_E_INTERNAL_ERROR, "internal error")
	}
}
