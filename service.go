package rendezvous

// The rendezvous point: from Start to Stop, streams in, requests and answers over each.
// What a stream may take and for how long is in stream.go, what a request does in
// requests.go.

import (
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

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// ServiceName is the name under which a point's streams are accounted for by the
// host's resource manager.
const ServiceName = "vac.waku.rendezvous"

// sweepInterval is how often a service gives back the memory of limits that are over.
const sweepInterval = 5 * time.Second

// RendezvousService is a rendezvous point. It serves the protocol on its host from
// Start to Stop, and again from the next Start. All methods may be called at the
// same time. It closes neither its host nor its storage. The zero value is of no use:
// [NewRendezvousService] makes one.
type RendezvousService struct {
	host    host.Host
	storage Storage
	config  serviceConfig
	err     error // what was wrong with the arguments, for Start to return

	stopping sync.Mutex // held during Stop: a second one has nothing left to stop

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
	service.err = errors.Join(service.err, applyOptions(&service.config, opts))
	return service
}

// Start begins to serve. It is an error to start a service twice without
// stopping it between, or two on one host.
func (s *RendezvousService) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("start rendezvous service: %w", s.err)
	}
	if s.term != nil {
		return errors.New("start rendezvous service: it is started already")
	}
	if slices.Contains(s.host.Mux().Protocols(), RendezvousID_v001) {
		return errors.New("start rendezvous service: the host has one already; stop that first, or use another host")
	}
	s.term = begin(s.storage, s.config)
	s.host.SetStreamHandler(RendezvousID_v001, s.term.handle)
	return nil
}

// Stop ends the service: no new streams are taken, requests under way are
// answered with E_UNAVAILABLE or reset, and when Stop returns all of its
// goroutines have ended. Stopping a stopped service does nothing.
func (s *RendezvousService) Stop() {
	s.stopping.Lock()
	defer s.stopping.Unlock()
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
	s.term = nil
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
		ledger:   newSubnetLedger(config.perIP, time.Now()),
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
	t.closed(err)
}

// closed tells the metrics how a stream ended. A panic of theirs is none of the host's.
func (t *term) closed(err error) {
	defer func() {
		if r := recover(); r != nil {
			_ = t.panicked(r)
		}
	}()
	t.config.metrics.StreamClosed(err)
}

// abort ends a stream because of an error.
func abort(v *inbound, err error) {
	log.Debug("stream ended", "peer", v.stream.Conn().RemotePeer(), "error", err)
	_ = v.stream.ResetWithError(resetCode(err))
}

// guard attaches a stream to the service and serves it. It is where a panic stops.
func (t *term) guard(v *inbound) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = t.panicked(r)
		}
	}()
	t.config.metrics.StreamOpened()
	v.caller = callerOf(v.stream.Conn())
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
	v := &inbound{stream: st, requestReader: requestReaders.Get().(*requestReader)}
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

	errTooMany  = refuse(pb.Message_E_UNAVAILABLE, "too many requests")
	errNoMemory = refuse(pb.Message_E_UNAVAILABLE, "rendezvous point has no memory for an answer now")
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
	var declined error
	if fate == decline {
		declined = errTooMany
	}
	if memory := t.memoryFor(&v.request); memory > 0 {
		if err := v.stream.Scope().ReserveMemory(memory, network.ReservationPriorityAlways); err != nil {
			declined, memory = errNoMemory, 0
		}
		defer v.stream.Scope().ReleaseMemory(memory)
	}
	a, err := t.respond(&v.caller, &v.request, declined, now)
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
