package rendezvous

// The rendezvous point: streams in, REGISTER and DISCOVER, answers out.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// ServiceName is the name under which a point's streams are accounted for by the
// host's resource manager.
const ServiceName = "vac.waku.rendezvous"

// streamTimeout bounds each wait for a remote peer: until it has sent a whole
// request, counted from the last answer, and until it has taken an answer.
const streamTimeout = 10 * time.Second

// ServiceOption configures a [RendezvousService].
type ServiceOption func(*serviceConfig) error

type serviceConfig struct {
	quota Quota
}

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
	service := &RendezvousService{
		host:    h,
		storage: s,
		config: serviceConfig{
			quota: Quota{PerPeer: 1000, Total: 1_000_000},
		},
	}
	if h == nil || s == nil {
		service.err = errors.New("a host and a storage are needed")
	}
	for _, opt := range opts {
		service.err = errors.Join(service.err, opt(&service.config))
	}
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
	s.term = newTerm(s.storage, s.config)
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
	storage Storage
	config  serviceConfig

	ctx    context.Context // ends with the term
	cancel context.CancelFunc

	mu       sync.Mutex
	ended    bool
	streams  map[network.Stream]struct{}
	handlers sync.WaitGroup // one for each of streams
}

func newTerm(s Storage, config serviceConfig) *term {
	ctx, cancel := context.WithCancel(context.Background())
	return &term{
		storage: s,
		config:  config,
		ctx:     ctx,
		cancel:  cancel,
		streams: make(map[network.Stream]struct{}),
	}
}

// end interrupts whatever waits for a remote peer and returns when every handler has.
func (t *term) end() {
	t.mu.Lock()
	t.ended = true
	for st := range t.streams {
		setDeadline(st.SetReadDeadline, 0)
		setDeadline(st.SetWriteDeadline, stopTimeout)
	}
	t.mu.Unlock()
	t.cancel()
	t.handlers.Wait()
}

// stopTimeout bounds how long Stop waits for peers to take the answers that are
// being written.
const stopTimeout = time.Second

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
	if t.ended {
		return false
	}
	t.streams[st] = struct{}{}
	t.handlers.Add(1)
	return true
}

func (t *term) leave(st network.Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, st)
	t.handlers.Done()
}

// await gives the remote peer its time to do what set bounds. It returns false,
// and sets nothing, when the term has ended.
func (t *term) await(set func(time.Time) error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	setDeadline(set, streamTimeout)
	return true
}

// handle serves a stream and ends it, whatever happens. It is where a panic stops.
func (t *term) handle(st network.Stream) {
	if !t.enter(st) {
		_ = st.ResetWithError(network.StreamShutdown)
		return
	}
	defer t.leave(st)
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic while serving a stream", "panic", r, "stack", string(debug.Stack()))
			_ = st.Reset()
		}
	}()
	err := t.serve(st)
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
)

func resetCode(err error) network.StreamErrorCode {
	switch {
	case errors.Is(err, ErrProtocol):
		return network.StreamProtocolViolation
	case errors.Is(err, errShutdown):
		return network.StreamShutdown
	case errors.Is(err, errResource):
		return network.StreamResourceLimitExceeded
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
	if err := scope.ReserveMemory(maxRequestSize, network.ReservationPriorityAlways); err != nil {
		return fmt.Errorf("%w: reserve memory for a request: %w", errResource, err)
	}
	defer scope.ReleaseMemory(maxRequestSize)

	in := requestReaders.Get().(*requestReader)
	defer in.release()
	in.Reset(st)
	for answered := 0; ; answered++ {
		request, err := t.read(st, in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errShutdown) && answered > 0:
			return nil // and not a reset, which would overtake the last answer
		case err != nil:
			return err
		}
		if err := t.answer(st, request); err != nil {
			return err
		}
	}
}

// requestReader is what it takes to read requests from a stream.
type requestReader struct {
	*bufio.Reader
	frame []byte
}

var requestReaders = sync.Pool{
	New: func() any { return &requestReader{Reader: bufio.NewReaderSize(nil, 1<<10)} },
}

func (r *requestReader) release() {
	r.Reset(nil)
	requestReaders.Put(r)
}

// read returns the next request, or io.EOF where there is none.
func (t *term) read(st network.Stream, in *requestReader) (*pb.Message, error) {
	if !t.await(st.SetReadDeadline) {
		return nil, errShutdown
	}
	frame, err := readFrame(in.Reader, in.frame, maxRequestSize)
	if err != nil {
		if t.ctx.Err() != nil {
			return nil, errShutdown
		}
		return nil, fmt.Errorf("read request: %w", err)
	}
	in.frame = frame
	return parseMessage(frame)
}

// answer does what a request asks and writes the answer.
func (t *term) answer(st network.Stream, request *pb.Message) error {
	ctx, cancel := context.WithTimeout(t.ctx, streamTimeout)
	defer cancel()

	buf := answerBuffers.Get().(*[]byte)
	defer releaseAnswer(buf)
	frame, err := t.respond(ctx, st.Conn().RemotePeer(), request, (*buf)[:0])
	if err != nil {
		return err
	}
	*buf = frame
	if err := st.Scope().ReserveMemory(len(frame), network.ReservationPriorityAlways); err != nil {
		return fmt.Errorf("%w: reserve memory for an answer: %w", errResource, err)
	}
	defer st.Scope().ReleaseMemory(len(frame))
	t.await(st.SetWriteDeadline) // at the term's end there is one already
	if _, err := st.Write(frame); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

var answerBuffers = sync.Pool{New: func() any { return new([]byte) }}

// releaseAnswer keeps a buffer for the next answer, unless it is of a size that few need.
func releaseAnswer(buf *[]byte) {
	if cap(*buf) <= 512<<10 {
		answerBuffers.Put(buf)
	}
}

// respond appends the frame that answers a request to dst. An error means that
// the request has no answer.
func (t *term) respond(ctx context.Context, from peer.ID, request *pb.Message, dst []byte) ([]byte, error) {
	var err error
	switch request.GetType() {
	case pb.Message_REGISTER:
		var ttl time.Duration
		if ttl, err = t.register(ctx, from, request.GetRegister()); err == nil {
			return appendFrame(dst, registerResponse(ttl))
		}
	case pb.Message_DISCOVER:
		var records []Record
		if records, err = t.discover(ctx, request.GetDiscover()); err == nil {
			frame, _ := appendDiscoverResponse(dst, records, time.Now())
			return frame, nil
		}
	default:
		return nil, fmt.Errorf("%w: %s is not a request", ErrProtocol, request.GetType())
	}
	log.Debug("request refused", "peer", from, "type", request.GetType(), "error", err)
	return appendFrame(dst, refusal(request.GetType(), answerTo(err)))
}

// register is REGISTER, its checks in the order of the wire's table. It returns
// the granted TTL.
func (t *term) register(ctx context.Context, from peer.ID, request *pb.Message_Register) (time.Duration, error) {
	ns, envelope := request.GetNs(), request.GetSignedPeerRecord()
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	if err := t.checkOwner(from, envelope); err != nil {
		return 0, err
	}
	ttl, err := grantTTL(request.GetTtl(), DefaultTTL, MaxTTL)
	if err != nil {
		return 0, err
	}
	err = t.storage.Add(ctx, Record{
		Namespace: ns,
		Peer:      from,
		Envelope:  envelope,
		Deadline:  time.Now().Add(ttl + grace),
	}, t.config.quota)
	if err != nil {
		return 0, err
	}
	return ttl, nil
}

// verifier is a [Storage] that remembers which bytes it was given for a peer, so
// that a refresh with the same record need not be verified again.
type verifier interface {
	verified(p peer.ID, envelope []byte) bool
}

// checkOwner verifies that envelope is the signed peer record of the peer that sent it.
func (t *term) checkOwner(from peer.ID, envelope []byte) error {
	if v, ok := t.storage.(verifier); ok && v.verified(from, envelope) {
		return nil
	}
	_, rec, err := openRecord(envelope)
	if err != nil {
		return err
	}
	if rec.PeerID != from {
		return refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record is another peer's than the connection's")
	}
	return nil
}

// discover is DISCOVER.
func (t *term) discover(ctx context.Context, request *pb.Message_Discover) ([]Record, error) {
	if err := checkNamespaceSize(request.GetNs()); err != nil {
		return nil, err
	}
	return t.storage.Sample(ctx, request.GetNs(), grantLimit(request.GetLimit(), MaxDiscoverLimit))
}

// answerTo is what a peer is told of an error: nothing of what goes on inside.
func answerTo(err error) *StatusError {
	var refused *StatusError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, ErrPeerLimit):
		return refuse(pb.Message_E_NOT_AUTHORIZED, "too many registrations of this peer")
	case errors.Is(err, ErrFull):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point is full")
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(pb.Message_E_UNAVAILABLE, "rendezvous point cannot serve this now")
	default:
		return refuse(pb.Message_E_INTERNAL_ERROR, "internal error")
	}
}
