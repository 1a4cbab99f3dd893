package rendezvous

// The rendezvous point: streams in, REGISTER and DISCOVER, answers out.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// ServiceName is the name under which a point's streams are accounted for by the
// host's resource manager.
const ServiceName = "vac.waku.rendezvous"

// Every wait for a remote peer is bounded: the one until it has sent a whole
// request, counted from the last answer, and the one until it has taken an answer.
const (
	streamTimeout = 10 * time.Second
	// crowd is how many streams may wait for a request at a time with all of
	// streamTimeout, and writingCrowd how many for their peer to take an answer;
	// those beyond have crowdedTimeout. That is plenty for a peer with something to
	// say, or that listens, and clears away a flood of silent or deaf streams
	// before they keep others out or fill the memory.
	crowd          = 256
	writingCrowd   = 64
	crowdedTimeout = time.Second
	// stopTimeout is what peers have, when the service stops, to take the answers
	// that are being written.
	stopTimeout = time.Second
)

// What a stream takes, for the resource manager's books. An entry there costs more
// than to answer a REGISTER does, so the small change is not booked: a stream with
// a small request or a small answer takes less than the muxer's own window for it,
// which is not booked either, and limits on streams bound both.
const (
	smallRequest = 4 << 10 // bytes
	smallSample  = 64      // registrations
	smallAnswer  = 16 << 10

	// requestMemory is reserved from a stream's first request that is not small
	// until the stream ends.
	requestMemory = maxRequestSize
	// discoverMemory is reserved while a DISCOVER is answered that asks for more than
	// a small sample: a buffer, through which an answer of any size is written, and
	// the sample, without the envelopes that the storage has anyway.
	discoverMemory = bigAnswer + MaxDiscoverLimit*int(unsafe.Sizeof(listing{}))
	bigAnswer      = 64 << 10
)

// sweepInterval is how often a service gives back the memory of limits that are over.
const sweepInterval = 5 * time.Second

// RendezvousService is a rendezvous point. It serves the protocol on its host from
// Start to Stop, and again from the next Start. All methods may be called at the
// same time. It closes neither its host nor its storage.
type RendezvousService struct {
	host    host.Host
	storage Storage
	config  serviceConfig
	err     error // what was wrong with the arguments, for Start to return

	mu   sync.Mutex
	term *term // from Start to the end of Stop, else nil
}

// NewRendezvousService returns a rendezvous point for h that keeps its
// registrations in s. What is wrong with an option is told by Start.
func NewRendezvousService(h host.Host, s Storage, opts ...ServiceOption) *RendezvousService {
	service := &RendezvousService{host: h, storage: s, config: defaultServiceConfig()}
	if h == nil || s == nil {
		service.err = errors.New("a host and a storage are needed")
	}
	service.err = errors.Join(service.err, service.config.apply(opts))
	return service
}

// Start begins to serve. It is an error to start a service twice without
// stopping it between.
func (s *RendezvousService) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("start rendezvous service: %w", s.err)
	}
	if s.term != nil {
		return errors.New("start rendezvous service: it is started already")
	}
	s.term = begin(s.storage, s.config)
	s.host.SetStreamHandler(RendezvousID_v001, s.term.handle)
	return nil
}

// Stop ends the service: no new streams are taken, requests under way are
// answered with E_UNAVAILABLE or reset, and when Stop returns all of its
// goroutines have ended. Stopping a stopped service does nothing.
func (s *RendezvousService) Stop() {
	s.mu.Lock()
	t := s.term
	s.mu.Unlock()
	if t == nil {
		return
	}
	s.host.RemoveStreamHandler(RendezvousID_v001)
	t.end()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term == t {
		s.term = nil
	}
}

// term is one term of service, from Start to Stop.
type term struct {
	storage  Storage
	config   serviceConfig
	mayWait  bool // whether a request may wait for something else than its peer
	requests *requestLimit
	ledger   *subnetLedger

	panics, failures logLimit

	ctx     context.Context // ends with the term
	cancel  context.CancelFunc
	waiting atomic.Int32 // streams that wait for a request
	writing atomic.Int32 // streams that wait for their answer to be taken
	uncount func()       // ends what the metrics read from the storage

	mu      sync.Mutex
	streams map[*inbound]struct{}
	running sync.WaitGroup // one for each of streams, and one for the sweeper
}

func begin(s Storage, config serviceConfig) *term {
	t := newTerm(s, config)
	t.running.Go(t.sweep)
	return t
}

func newTerm(s Storage, config serviceConfig) *term {
	ctx, cancel := context.WithCancel(context.Background())
	_, inMemory := s.(*memoryStorage)
	return &term{
		storage:  traced(s, config.metrics),
		config:   config,
		mayWait:  !inMemory || config.authorize != nil,
		requests: newRequestLimit(config.rate, config.burst),
		ledger:   newLedger(config.perSubnet, time.Now()),
		ctx:      ctx,
		cancel:   cancel,
		uncount:  config.metrics.Started(s),
		streams:  make(map[*inbound]struct{}),
	}
}

// end interrupts whatever waits for a remote peer and returns when all that the
// term started has ended.
func (t *term) end() {
	t.mu.Lock()
	t.cancel() // under the lock: no stream enters any more
	streams := slices.Collect(maps.Keys(t.streams))
	t.mu.Unlock()
	for _, v := range streams {
		setDeadline(v.stream.SetReadDeadline, 0)
		setDeadline(v.stream.SetWriteDeadline, stopTimeout)
	}
	t.running.Wait()
	t.uncount()
}

// sweep gives back what limits that are over take, until the term ends.
func (t *term) sweep() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.requests.sweep(now)
			t.ledger.sweep(now)
		case <-t.ctx.Done():
			return
		}
	}
}

// setDeadline sets a deadline from now on. What cannot set one, such as a mocked
// stream, goes without.
func setDeadline(set func(time.Time) error, in time.Duration) {
	if err := set(time.Now().Add(in)); err != nil {
		log.Debug("stream takes no deadline", "error", err)
	}
}

// handle serves a stream and ends it, whatever happens.
//
// What it calls is kept flat, and what is rare in functions of their own: a stream's
// goroutine has a small stack, and to grow it for each stream is half of what REGISTER
// again costs beside the echo. Closing a stream goes deepest of all.
func (t *term) handle(st network.Stream) {
	v := t.enter(st)
	if v == nil {
		_ = st.ResetWithError(network.StreamShutdown)
		return
	}
	defer t.leave(v)
	err := t.guard(v)
	if err == nil {
		_ = st.Close()
	} else {
		abort(v, err)
	}
	t.config.metrics.StreamClosed(err)
}

// abort ends a stream because of an error.
func abort(v *inbound, err error) {
	log.Debug("stream ended", "peer", v.caller.peer, "error", err)
	_ = v.stream.ResetWithError(resetCode(err))
}

// guard attaches a stream to the service and serves it. It is where a panic stops.
func (t *term) guard(v *inbound) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = t.panicked(r)
		}
	}()
	if err := v.stream.Scope().SetService(ServiceName); err != nil {
		return fmt.Errorf("%w: attach stream to service: %w", errResource, err)
	}
	return t.serve(v)
}

func (t *term) panicked(r any) error {
	if n, due := t.panics.due(); due {
		log.Error("panic while serving a stream", "panic", r, "stack", string(debug.Stack()), "times", n)
	}
	return errPanic
}

// enter begins to serve a stream, unless the term has ended.
func (t *term) enter(st network.Stream) *inbound {
	v := &inbound{stream: st, caller: callerOf(st.Conn()), requestReader: requestReaders.Get().(*requestReader)}
	v.patience.stream = st
	v.Reset(st)
	v.out = meter{st, t.config.metrics}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		v.release()
		return nil
	}
	t.streams[v] = struct{}{}
	t.running.Add(1)
	t.config.metrics.StreamOpened()
	return v
}

func (t *term) leave(v *inbound) {
	t.mu.Lock()
	delete(t.streams, v)
	t.mu.Unlock()
	v.release()
	t.running.Done()
}

var (
	errShutdown = errors.New("service is stopping")
	errResource = errors.New("resource limit reached")
	errRate     = errors.New("far over the rate limit")
	errPanic    = errors.New("panic")

	errTooMany = refuse(pb.Message_E_UNAVAILABLE, "too many requests")
)

func resetCode(err error) network.StreamErrorCode {
	switch {
	case errors.Is(err, ErrProtocol):
		return network.StreamProtocolViolation
	case errors.Is(err, errShutdown):
		return network.StreamShutdown
	case errors.Is(err, errResource):
		return network.StreamResourceLimitExceeded
	case errors.Is(err, errRate):
		return network.StreamRateLimited
	default:
		return network.StreamNoError
	}
}

// serve answers a stream's requests, one after the other, until the peer has no
// more. An error means that the stream must be reset.
func (t *term) serve(v *inbound) error {
	defer v.unreserve()
	defer v.patience.end()
	for answered := 0; ; answered++ {
		err := t.read(v)
		if err == nil {
			err = t.reply(v)
		} else if answered == 0 {
			t.requests.take(&v.caller, time.Now()) // a stream with no request costs one
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, errShutdown) && answered > 0:
			return nil // and not a reset, which would overtake the last answer
		default:
			return err
		}
	}
}

// read reads the stream's next request. It returns io.EOF itself where there is none.
// Where the service stops, end has set the stream a deadline after the term's context
// had ended.
func (t *term) read(v *inbound) error {
	now := time.Now()
	if t.requests.spent(&v.caller, now) {
		return errRate
	}
	v.patience.until(now.Add(timeFor(&t.waiting, crowd)))
	defer t.waiting.Add(-1)
	if t.ctx.Err() != nil {
		return errShutdown
	}
	if err := v.readFrame(); err != nil {
		return t.unread(err)
	}
	v.patience.rest()
	t.config.metrics.Received(frameSize(len(v.frame)))
	return v.request.parse(v.frame)
}

// unread is what an error says that a request was not read for.
func (t *term) unread(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return err
	case t.ctx.Err() != nil:
		return errShutdown
	default:
		return fmt.Errorf("read request: %w", err)
	}
}

// reply answers the request that was read.
func (t *term) reply(v *inbound) error {
	now := time.Now()
	fate := t.requests.take(&v.caller, now)
	if fate == drop {
		return errRate
	}
	if memory := t.memoryFor(&v.request); memory > 0 {
		if err := v.stream.Scope().ReserveMemory(memory, network.ReservationPriorityAlways); err != nil {
			fate, memory = decline, 0
		}
		defer v.stream.Scope().ReleaseMemory(memory)
	}
	a, err := t.respond(&v.caller, &v.request, fate, now)
	if err != nil {
		return err
	}
	defer a.recycle()
	return t.write(v, &a)
}

// write sends an answer, in place of the request.
func (t *term) write(v *inbound, a *answer) error {
	v.patience.until(time.Now().Add(timeFor(&t.writing, writingCrowd)))
	defer t.writing.Add(-1)
	sent, err := a.write(&v.out, v.frame[:0])
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	if a.kind == pb.Message_DISCOVER && a.refused == nil {
		t.config.metrics.Sampled(sent)
	}
	return nil
}

// timeFor counts one more that waits for its peer, and is how long it may.
func timeFor(waiting *atomic.Int32, crowd int32) time.Duration {
	if waiting.Add(1) > crowd {
		return crowdedTimeout
	}
	return streamTimeout
}

// inbound is a stream that is being served.
type inbound struct {
	stream   network.Stream
	caller   caller
	patience patience
	request  request // as read last, parts of the reader's frame
	*requestReader
}

// patience resets a stream whose peer lets the point wait for too long. One timer
// does for a whole stream: it is touched where time runs out sooner than it was
// set for, and looks by itself whether there has come to be more. A deadline of the
// stream's own would be a new timer for each request and each answer, which is a
// hundredth of REGISTER again.
type patience struct {
	stream network.Stream

	mu    sync.Mutex
	timer *time.Timer // nil before the first until
	rings time.Time   // when timer does, if it does
	due   time.Time   // when the peer's time is up, if that is what is waited for
	ended bool
}

// until gives the peer time for what is next.
func (p *patience) until(due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = due
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(time.Until(due), p.look)
	case p.rings.IsZero(), due.Before(p.rings):
		p.timer.Reset(time.Until(due))
	default:
		return
	}
	p.rings = due
}

// rest waits for nothing of the peer's.
func (p *patience) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = time.Time{}
}

// look resets the stream if time is up.
func (p *patience) look() {
	if p.isUp() {
		_ = p.stream.Reset()
	}
}

func (p *patience) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rings = time.Time{}
	if p.ended || p.due.IsZero() {
		return false
	}
	left := time.Until(p.due)
	if left > 0 {
		p.timer.Reset(left)
		p.rings = p.due
	}
	return left <= 0
}

// end stops looking.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// requestReader is what it takes to read requests from a stream.
type requestReader struct {
	*bufio.Reader
	frame    []byte
	reserved int   // bytes of the stream's scope
	out      meter // for the answers, to the same stream
}

var requestReaders = sync.Pool{
	New: func() any { return &requestReader{Reader: bufio.NewReaderSize(nil, 1<<10)} },
}

func (r *requestReader) release() {
	r.Reset(nil)
	r.out = meter{}
	requestReaders.Put(r)
}

// readFrame reads the frame of a request, once there is memory for it.
func (v *inbound) readFrame() error {
	size, err := readSize(v.Reader, maxRequestSize)
	if err != nil {
		return err
	}
	if size > smallRequest && v.reserved == 0 {
		if err := v.stream.Scope().ReserveMemory(requestMemory, network.ReservationPriorityAlways); err != nil {
			return fmt.Errorf("%w: %w", errResource, err)
		}
		v.reserved = requestMemory
	}
	frame, err := readBody(v.Reader, v.frame, size)
	if err == nil {
		v.frame = frame
	}
	return err
}

func (v *inbound) unreserve() {
	if v.reserved > 0 {
		v.stream.Scope().ReleaseMemory(v.reserved)
		v.reserved = 0
	}
}

// memoryFor is what answering a request takes, beyond what reading it took.
func (t *term) memoryFor(r *request) int {
	if r.kind == pb.Message_DISCOVER && grantLimit(r.discover.limit, t.config.discoverLimit) > smallSample {
		return discoverMemory
	}
	return 0
}

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

// respond does what a request that was read at now asks, or declines it, and returns
// the answer. An error means that the request has none.
func (t *term) respond(c *caller, r *request, v verdict, now time.Time) (a answer, err error) {
	a.kind = r.kind
	switch {
	case r.kind != pb.Message_REGISTER && r.kind != pb.Message_DISCOVER:
		return a, fmt.Errorf("%w: %s is not a request", ErrProtocol, r.kind)
	case v != serve:
		err = errTooMany
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
		return err
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
	if err != nil || ns != "" {
		return found, err
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
	var refused *StatusError
	switch {
	case errors.As(err, &refused), errors.Is(err, ErrPeerLimit), errors.Is(err, errAddressLimit), t.ctx.Err() != nil:
	default:
		if n, due := t.failures.due(); due {
			log.Warn("requests fail", "error", err, "times", n)
		}
	}
}

// answerTo is what a peer is told of an error: nothing of what goes on inside.
func answerTo(err error) *StatusError {
	refused, ok := errors.AsType[*StatusError](err)
	switch {
	case ok:
		return refused
	case errors.Is(err, ErrPeerLimit):
		return refuse(pb.Message_E_NOT_AUTHORIZED, "too many registrations of this peer")
	case errors.Is(err, errAddressLimit):
		return refuse(pb.Message_E_UNAVAILABLE, "too many registrations from this address")
	case errors.Is(err, ErrFull):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point is full")
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point cannot serve this now")
	default:
		return refuse(pb.Message_E_INTERNAL_ERROR, "internal error")
	}
}
