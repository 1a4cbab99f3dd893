package rendezvous

// The rendezvous point, from Start to Stop.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// sweepInterval is how often a service frees the memory of rate limits that are
// unused again.
const sweepInterval = 5 * time.Second

// RendezvousService is a rendezvous point. It serves the protocol on its host from Start
// to Stop, and can be started again. All methods are safe for concurrent use. It closes
// neither its host nor its storage. [NewRendezvousService] makes one; the zero value is
// not usable.
type RendezvousService struct {
	host    host.Host
	storage Storage
	config  serviceConfig
	err     error // what is wrong with the arguments, for Start to return

	stopping sync.Mutex // held during Stop, so that concurrent calls wait

	mu      sync.Mutex
	running *instance // from Start to the end of Stop, else nil
}

// NewRendezvousService returns a rendezvous point for h that keeps its registrations in
// s. Start returns the errors of the options.
func NewRendezvousService(h host.Host, s Storage, opts ...ServiceOption) *RendezvousService {
	service := &RendezvousService{host: h, storage: s, config: defaultServiceConfig()}
	if h == nil || s == nil {
		service.err = errors.New("a host and a storage are needed")
	}
	service.err = errors.Join(service.err, applyOptions(&service.config, opts), service.config.standard.check())
	return service
}

// starting is held while a service checks that its host has no other service and
// registers its handlers, so that only one of two services starts.
var starting sync.Mutex

// Start begins to serve. It returns the errors of the options, and an error if the service
// is started already or the host serves one of its protocols. It does not notice that the host or
// the storage is closed: nobody can reach the point then, or every request is refused. With
// [WithStandardProtocol], Start reads a first page from the storage and waits up to ten seconds for
// that; [RendezvousService.Stop] ends the wait.
func (s *RendezvousService) Start() error {
	i, err := s.begin()
	if err == nil {
		if err = <-i.prepared; err != nil {
			s.end(i)
		}
	}
	if err != nil {
		return fmt.Errorf("start rendezvous service: %w", err)
	}
	return nil
}

// begin begins to serve. It does not wait for the storage, because it holds locks.
func (s *RendezvousService) begin() (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.running != nil {
		return nil, errors.New("it is already started")
	}
	starting.Lock()
	defer starting.Unlock()
	served := s.config.served()
	for _, id := range s.host.Mux().Protocols() {
		if served[id] != nil {
			return nil, fmt.Errorf("the host already serves %s; stop that first, or use another host", id)
		}
	}
	i, err := newInstance(s.host, s.storage, s.config)
	if err != nil {
		return nil, err
	}
	s.running = i
	for id, d := range served {
		s.host.SetStreamHandler(id, func(st network.Stream) { i.handle(st, d) })
	}
	return i, nil
}

// Stop ends the service. It takes no new streams; requests that are being served are
// answered E_UNAVAILABLE or reset. When Stop returns, all goroutines of the service have
// ended. Stop is idempotent.
func (s *RendezvousService) Stop() {
	if i := s.current(); i != nil {
		s.end(i)
	}
}

// current returns the instance that is running, or nil.
func (s *RendezvousService) current() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// end stops an instance, unless that has been done.
func (s *RendezvousService) end(i *instance) {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	if s.current() != i {
		return
	}
	for id := range s.config.served() {
		s.host.RemoveStreamHandler(id)
	}
	i.stop()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
}

// instance is a service from one Start to the next Stop.
type instance struct {
	requests *requests
	metrics  MetricsTracer
	perPeer  *limit.Concurrent[peer.ID]
	panics   logging.Limit

	ctx     context.Context // ends when the service stops
	cancel  context.CancelFunc
	stopped func() // tells the metrics

	prepared chan error // receives the result of prepare, once

	mu      sync.Mutex
	streams map[*stream]struct{}
	tasks   sync.WaitGroup // one for each of streams, and those that run regularly
}

func newInstance(h host.Host, s Storage, config serviceConfig) (*instance, error) {
	q := newRequests(s, config)
	if config.standard.isServed() {
		var err error
		if q.standard, err = newStandard(h, s, config.metrics); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{
		requests: q,
		metrics:  config.metrics,
		perPeer:  limit.NewConcurrent[peer.ID](maxStreamsPerPeer),
		ctx:      ctx,
		cancel:   cancel,
		stopped:  config.metrics.Started(s),
		prepared: make(chan error, 1),
		streams:  make(map[*stream]struct{}),
	}
	i.tasks.Go(func() { i.prepared <- i.prepare() })
	i.tasks.Go(func() { i.every(sweepInterval, q.sweep) })
	if q.standard != nil {
		i.tasks.Go(func() { i.every(renewInterval, q.standard.renew) })
	}
	return i, nil
}

// prepare prepares the storage, as far as it can be reached now.
func (i *instance) prepare() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = i.recovered(r)
		}
	}()
	if i.requests.standard == nil {
		return nil
	}
	err = i.requests.standard.begin(i.ctx)
	if i.ctx.Err() != nil {
		return errors.New("it was stopped before the storage was ready")
	}
	return err
}

// stop interrupts all streams and waits until everything that the instance started has
// ended.
func (i *instance) stop() {
	i.mu.Lock()
	i.cancel() // under the lock, so that no stream enters any more
	streams := slices.Collect(maps.Keys(i.streams))
	i.mu.Unlock()
	for _, s := range streams {
		s.interrupt()
	}
	i.tasks.Wait()
	i.stopped()
}

// every calls f regularly until the service stops. It continues after a panic of f, which
// may call the user's storage.
func (i *instance) every(interval time.Duration, f func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			i.call(f)
		case <-i.ctx.Done():
			return
		}
	}
}

func (i *instance) call(f func(context.Context)) {
	defer func() {
		if r := recover(); r != nil {
			_ = i.recovered(r)
		}
	}()
	f(i.ctx)
}

// handle serves a stream and ends it, whatever happens.
//
// The call chain is kept shallow, and rare cases are in functions of their own, because
// the goroutine of a stream starts with a small stack. Growing it once takes 3 % of the CPU time
// of a refresh on a fresh stream, both ends together, with the memory storage.
func (i *instance) handle(st network.Stream, d *wire.Dialect) {
	s, err := i.enter(st, d)
	if err == nil {
		defer i.leave(s)
		err = i.guard(s)
	}
	if err == nil {
		_ = st.Close()
	} else {
		reset(st, err)
	}
	i.reportEnd(s, d, err)
}

// enter begins to serve a stream, unless the service is stopping or the peer has too
// many streams.
func (i *instance) enter(st network.Stream, d *wire.Dialect) (*stream, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ctx.Err() != nil {
		return nil, errStopping
	}
	if !i.perPeer.Enter(st.Conn().RemotePeer()) {
		c := callerOf(st.Conn(), d)
		i.requests.rates.Charge(c.peer, c.origin, limit.Request, time.Now())
		return nil, fmt.Errorf("%w: the peer has %d streams in service", errResource, maxStreamsPerPeer)
	}
	s := newStream(st, d, i.requests)
	i.streams[s] = struct{}{}
	i.tasks.Add(1)
	return s, nil
}

func (i *instance) leave(s *stream) {
	s.release()
	i.mu.Lock()
	delete(i.streams, s)
	i.perPeer.Leave(s.Conn().RemotePeer())
	i.mu.Unlock()
	i.tasks.Done()
}

// guard attaches a stream to the service and serves it. It recovers from panics.
func (i *instance) guard(s *stream) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = i.recovered(r)
		}
	}()
	i.metrics.StreamOpened()
	if err := s.Scope().SetService(ServiceName); err != nil {
		return fmt.Errorf("%w: attach stream to service: %w", errResource, err)
	}
	return s.serve(i.ctx)
}

// reportEnd tells the metrics how a stream ended. s is nil if it was not served.
func (i *instance) reportEnd(s *stream, d *wire.Dialect, err error) {
	defer func() {
		if r := recover(); r != nil {
			_ = i.recovered(r)
		}
	}()
	if s == nil {
		i.metrics.StreamOpened()
		i.metrics.StreamEnded(StreamEnded{Protocol: d.ID, Err: err})
		return
	}
	i.metrics.StreamEnded(StreamEnded{Protocol: d.ID, Err: err, Unanswered: s.unanswered})
}

// recovered logs a panic and returns the error for the stream that it ended.
func (i *instance) recovered(r any) error {
	if n, due := i.panics.Due(); due {
		logging.Log.Error("panic in the service", "panic", r, "stack", string(debug.Stack()), "times", n)
	}
	return errPanic
}

// reset ends a stream because of an error.
func reset(st network.Stream, err error) {
	logging.Log.Debug("stream ended", "peer", st.Conn().RemotePeer(), "error", err)
	_ = st.ResetWithError(resetCode(err))
}

func resetCode(err error) network.StreamErrorCode {
	switch {
	case errors.Is(err, ErrProtocol):
		return network.StreamProtocolViolation
	case errors.Is(err, errStopping):
		return network.StreamShutdown
	case errors.Is(err, errResource):
		return network.StreamResourceLimitExceeded
	case errors.Is(err, errRate):
		return network.StreamRateLimited
	default:
		return network.StreamNoError
	}
}
