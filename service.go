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
	discoverMemory = bigAnswer + MaxDiscoverLimit*int(unsafe.Sizeof(Record{}))
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
	requests *requestLimit
	ledger   *subnetLedger

	panics, failures logLimit

	ctx     context.Context // ends with the term
	cancel  context.CancelFunc
	waiting atomic.Int32 // streams that wait for a request
	writing atomic.Int32 // streams that wait for their answer to be taken
	uncount func()       // ends what the metrics read from the storage

	mu      sync.Mutex
	streams map[network.Stream]struct{}
	running sync.WaitGroup // one for each of streams, and one for the sweeper
}

func begin(s Storage, config serviceConfig) *term {
	t := newTerm(s, config)
	t.running.Go(t.sweep)
	return t
}

func newTerm(s Storage, config serviceConfig) *term {
	ctx, cancel := context.WithCancel(context.Background())
	return &term{
		storage:  traced(s, config.metrics),
		config:   config,
		requests: newRequestLimit(config.rate, config.burst),
		ledger:   newLedger(config.perSubnet, time.Now()),
		ctx:      ctx,
		cancel:   cancel,
		uncount:  config.metrics.Started(s),
		streams:  make(map[network.Stream]struct{}),
	}
}

// end interrupts whatever waits for a remote peer and returns when all that the
// term started has ended.
func (t *term) end() {
	t.mu.Lock()
	t.cancel() // under the lock: no stream enters any more
	streams := slices.Collect(maps.Keys(t.streams))
	t.mu.Unlock()
	for _, st := range streams {
		setDeadline(st.SetReadDeadline, 0)
		setDeadline(st.SetWriteDeadline, stopTimeout)
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

func (t *term) enter(st network.Stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.streams[st] = struct{}{}
	t.running.Add(1)
	return true
}

func (t *term) leave(st network.Stream) {
	t.mu.Lock()
	delete(t.streams, st)
	t.mu.Unlock()
	t.running.Done()
}

// handle serves a stream and ends it, whatever happens. It is where a panic stops.
func (t *term) handle(st network.Stream) {
	if !t.enter(st) {
		_ = st.ResetWithError(network.StreamShutdown)
		return
	}
	defer t.leave(st)
	t.config.metrics.StreamOpened()
	err := errPanic
	defer func() {
		if r := recover(); r != nil {
			if n, due := t.panics.due(); due {
				log.Error("panic while serving a stream", "panic", r, "stack", string(debug.Stack()), "times", n)
			}
			_ = st.Reset()
		}
		t.config.metrics.StreamClosed(err)
	}()
	err = t.serve(st)
	if err == nil {
		_ = st.Close()
		return
	}
	log.Debug("stream ended", "peer", st.Conn().RemotePeer(), "error", err)
	_ = st.ResetWithError(resetCode(err))
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
func (t *term) serve(st network.Stream) error {
	scope := st.Scope()
	if err := scope.SetService(ServiceName); err != nil {
		return fmt.Errorf("%w: attach stream to service: %w", errResource, err)
	}
	in := requestReaders.Get().(*requestReader)
	defer in.release(scope)
	in.Reset(st)
	in.out = meter{st, t.config.metrics}
	c := callerOf(st.Conn())
	for answered := 0; ; answered++ {
		err := t.serveOne(st, c, in)
		if err != nil && answered == 0 {
			t.requests.take(c, time.Now()) // a stream with no request costs one
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errShutdown) && answered > 0:
			return nil // and not a reset, which would overtake the last answer
		case err != nil:
			return err
		}
	}
}

// serveOne answers a stream's next request. It returns io.EOF itself where there
// is none.
func (t *term) serveOne(st network.Stream, c caller, in *requestReader) error {
	if t.requests.spent(c, time.Now()) {
		return errRate
	}
	request, err := t.read(st, in)
	if err != nil {
		return err
	}
	v := t.requests.take(c, time.Now())
	if v == drop {
		return errRate
	}

	ctx, cancel := context.WithTimeout(t.ctx, streamTimeout)
	defer cancel()
	if memory := memoryFor(request); memory > 0 {
		if err := st.Scope().ReserveMemory(memory, network.ReservationPriorityAlways); err != nil {
			v, memory = decline, 0
		}
		defer st.Scope().ReleaseMemory(memory)
	}
	a, err := t.respond(ctx, c, request, v)
	if err != nil {
		return err
	}
	defer a.recycle()
	timeout := patience(&t.writing, writingCrowd)
	defer t.writing.Add(-1)
	_ = t.allow(st.SetWriteDeadline, timeout, stopTimeout) // it may be the last answer
	sent, err := a.write(&in.out, in.frame[:0])
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	if a.message == nil {
		t.config.metrics.Sampled(sent)
	}
	return nil
}

// patience counts one more that waits for its peer, and is how long it may.
func patience(waiting *atomic.Int32, crowd int32) time.Duration {
	if waiting.Add(1) > crowd {
		return crowdedTimeout
	}
	return streamTimeout
}

// allow gives the remote peer its time to do what set bounds, or where the service
// stops, the other time and errShutdown. The deadlines that end sets come after the
// term's context has ended, and so after those that are set here while it has not.
func (t *term) allow(set func(time.Time) error, in, stopping time.Duration) error {
	setDeadline(set, in)
	if t.ctx.Err() != nil {
		setDeadline(set, stopping)
		return errShutdown
	}
	return nil
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

func (r *requestReader) release(scope network.StreamScope) {
	if r.reserved > 0 {
		scope.ReleaseMemory(r.reserved)
		r.reserved = 0
	}
	r.Reset(nil)
	r.out = meter{}
	requestReaders.Put(r)
}

// readFrame reads the frame of a request, once there is memory for it.
func (r *requestReader) readFrame(scope network.StreamScope) error {
	size, err := readSize(r.Reader, maxRequestSize)
	if err != nil {
		return err
	}
	if size > smallRequest && r.reserved == 0 {
		if err := scope.ReserveMemory(requestMemory, network.ReservationPriorityAlways); err != nil {
			return fmt.Errorf("%w: %w", errResource, err)
		}
		r.reserved = requestMemory
	}
	frame, err := readBody(r.Reader, r.frame, size)
	if err == nil {
		r.frame = frame
	}
	return err
}

// read returns the next request, or io.EOF where there is none. The frame of in is
// then free for other use.
func (t *term) read(st network.Stream, in *requestReader) (*pb.Message, error) {
	timeout := patience(&t.waiting, crowd)
	defer t.waiting.Add(-1)
	if err := t.allow(st.SetReadDeadline, timeout, 0); err != nil {
		return nil, err
	}
	err := in.readFrame(st.Scope())
	switch {
	case errors.Is(err, io.EOF):
		return nil, err
	case err != nil && t.ctx.Err() != nil:
		return nil, errShutdown
	case err != nil:
		return nil, fmt.Errorf("read request: %w", err)
	}
	t.config.metrics.Received(frameSize(len(in.frame)))
	return parseMessage(in.frame)
}

// memoryFor is what answering a request takes, beyond what reading it took.
func memoryFor(request *pb.Message) int {
	if request.GetType() == pb.Message_DISCOVER && grantLimit(request.GetDiscover().GetLimit(), MaxDiscoverLimit) > smallSample {
		return discoverMemory
	}
	return 0
}

// answer is what a request gets: a message, or the records that a DISCOVER found,
// in one of samples.
type answer struct {
	message *pb.Message
	records []Record // where message is nil
}

// write writes the answer's frame to w, a short one through buf, and returns how
// many records were in it.
func (a answer) write(w io.Writer, buf []byte) (sent int, err error) {
	if a.message == nil {
		buffers := &smallBuffers
		if len(a.records) > smallSample {
			buffers = &bigBuffers
		}
		through := buffers.Get().(*[]byte)
		defer buffers.Put(through)
		return writeDiscoverResponse(w, *through, a.records, time.Now())
	}
	frame, err := appendFrame(buf, a.message)
	if err != nil {
		return 0, err
	}
	_, err = w.Write(frame)
	return 0, err
}

// recycle gives back what the answer is made of, which is garbage enough to keep
// the collector busy otherwise.
func (a answer) recycle() {
	if a.message == nil {
		clear(a.records)
		empty := a.records[:0]
		samples.Put(&empty)
	}
}

var (
	samples      = sync.Pool{New: func() any { return new([]Record) }}
	smallBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, smallAnswer)) }}
	bigBuffers   = sync.Pool{New: func() any { return new(make([]byte, 0, bigAnswer)) }}
)

// respond does what a request asks, or declines it, and returns the answer. An
// error means that the request has none.
func (t *term) respond(ctx context.Context, c caller, request *pb.Message, v verdict) (answer, error) {
	var err error
	started := time.Now()
	defer func() { t.config.metrics.Answered(request.GetType(), err, time.Since(started)) }()
	switch kind := request.GetType(); {
	case kind != pb.Message_REGISTER && kind != pb.Message_DISCOVER:
		return answer{}, fmt.Errorf("%w: %s is not a request", ErrProtocol, kind)
	case v != serve:
		err = errTooMany
	case kind == pb.Message_REGISTER:
		var ttl time.Duration
		if ttl, err = t.register(ctx, c, request.GetRegister()); err == nil {
			return answer{message: registerResponse(ttl)}, nil
		}
	default:
		a := answer{records: *samples.Get().(*[]Record)}
		if a.records, err = t.discover(ctx, c, request.GetDiscover(), a.records); err == nil {
			return a, nil
		}
	}
	log.Debug("request refused", "peer", c.peer, "type", request.GetType(), "error", err)
	t.report(err)
	return answer{message: refusal(request.GetType(), answerTo(err))}, nil
}

// register is REGISTER, its checks in the order of the wire's table. It returns
// the granted TTL.
func (t *term) register(ctx context.Context, c caller, request *pb.Message_Register) (time.Duration, error) {
	ns, envelope := request.GetNs(), request.GetSignedPeerRecord()
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	if err := t.checkOwner(c.peer, envelope); err != nil {
		return 0, err
	}
	ttl, err := grantTTL(request.GetTtl(), t.config.ttl, t.config.maxTTL)
	if err != nil {
		return 0, err
	}
	err = t.config.authorize.check(ctx, Request{Peer: c.peer, Addr: c.addr, Register: true, Namespace: ns})
	if err != nil {
		return 0, err
	}
	now := time.Now()
	return ttl, t.add(ctx, c, now, Record{
		Namespace: ns,
		Peer:      c.peer,
		Envelope:  envelope,
		Deadline:  now.Add(ttl + grace),
	})
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
func (t *term) add(ctx context.Context, c caller, now time.Time, r Record) error {
	key := t.ledger.key(r.Namespace, r.Peer)
	fresh, err := t.ledger.reserve(c, key, r.Deadline, now)
	if err != nil {
		return err
	}
	if err := t.storage.Add(ctx, r, t.config.quota); err != nil {
		if fresh {
			t.ledger.release(key)
		}
		return err
	}
	t.ledger.keep(c, key, r.Deadline)
	return nil
}

// appender is a [Storage] that samples into a slice of the caller's.
type appender interface {
	appendSample(ctx context.Context, dst []Record, namespace string, n int) ([]Record, error)
}

// discover is DISCOVER. It appends what it finds to dst, which is empty.
func (t *term) discover(ctx context.Context, c caller, request *pb.Message_Discover, dst []Record) ([]Record, error) {
	ns := request.GetNs()
	if err := checkNamespaceSize(ns); err != nil {
		return nil, err
	}
	asked := Request{Peer: c.peer, Addr: c.addr, Namespace: ns}
	if err := t.config.authorize.check(ctx, asked); err != nil {
		return nil, err
	}
	records, err := t.sample(ctx, ns, grantLimit(request.GetLimit(), t.config.discoverLimit), dst)
	if err != nil || ns != "" {
		return records, err
	}
	return t.config.authorize.visible(ctx, asked, records)
}

func (t *term) sample(ctx context.Context, ns string, n int, dst []Record) ([]Record, error) {
	if s, ok := t.storage.(appender); ok {
		return s.appendSample(ctx, dst, ns, n)
	}
	records, err := t.storage.Sample(ctx, ns, n)
	return append(dst, records...), err
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
