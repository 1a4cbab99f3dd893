package rendezvous

// One stream at a point: its deadlines, its memory, and its requests one by one.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// answerTimeout is how long a peer has to take an answer, and stopTimeout how long it
// has when the service stops.
const (
	answerTimeout = 10 * time.Second
	stopTimeout   = time.Second
)

// Answers to REGISTERs that a peer has sent together are written together, if requests are quick.
// That saves a sixth of the CPU time of a refresh ("kept registered" of make bench). The answers wait
// until there are togetherSize bytes, until an answer is made togetherTime after the first, or until
// the point reads from the stream again or writes another answer. So a request that is slow all the
// same delays the answers before it.
const (
	togetherSize = 1 << 10
	togetherTime = time.Millisecond
)

// stream is a stream in service.
type stream struct {
	network.Stream
	requests *requests
	dialect  *wire.Dialect
	caller   caller
	*streamBuffers
	peeking       chan struct{} // closed when the goroutine of peek no longer uses reader; nil: there is none
	reserved      int           // bytes of requestMemory
	unanswered    int           // size of the request that was read and is not yet answered
	sent          int           // bytes of the present answer
	firstAnswer   time.Time     // when the first of answers was made
	readDeadline  time.Time
	writeDeadline time.Time
}

// streamBuffers is the memory of a stream that the next stream can use.
type streamBuffers struct {
	reader  *bufio.Reader
	frame   []byte
	request wire.Request // parts of frame
	answers []byte       // that are still to be sent
}

var streamBuffersPool = sync.Pool{
	New: func() any { return &streamBuffers{reader: bufio.NewReaderSize(nil, 1<<10)} },
}

func newStream(st network.Stream, d *wire.Dialect, q *requests) *stream {
	s := &stream{Stream: st, requests: q, dialect: d, streamBuffers: streamBuffersPool.Get().(*streamBuffers)}
	s.reader.Reset(s)
	return s
}

// release returns the stream's memory. The stream has ended.
func (s *stream) release() {
	s.awaitPeek() // the stream has ended, so this is soon
	if s.reserved > 0 {
		s.Scope().ReleaseMemory(s.reserved)
	}
	s.reader.Reset(nil)
	s.answers = s.answers[:0]
	streamBuffersPool.Put(s.streamBuffers)
}

// serve answers the stream's requests, one after the other, until the peer has no more
// or ctx ends. If it returns an error, the stream must be reset.
func (s *stream) serve(ctx context.Context) error {
	err := s.answerAll(ctx)
	if left := s.flush(); err == nil {
		err = left
	}
	return err
}

func (s *stream) answerAll(ctx context.Context) error {
	s.caller = callerOf(s.Conn(), s.dialect)
	timeout := firstRequestTimeout
	for {
		err := s.read(ctx, timeout)
		first := timeout == firstRequestTimeout
		if err == nil {
			err = s.reply(ctx)
		} else if first { // a stream without a request is charged as one
			s.requests.rates.Charge(s.caller.peer, s.caller.origin, limit.Request, time.Now())
		}
		switch {
		case err == nil:
			timeout = idleTimeout
		case errors.Is(err, io.EOF), errors.Is(err, errStopping) && !first:
			return nil // a reset would overtake the last answer
		default:
			return err
		}
	}
}

// read reads the next request. It returns io.EOF itself if there is none.
func (s *stream) read(ctx context.Context, timeout time.Duration) error {
	now := time.Now()
	if s.requests.rates.InDebt(s.caller.peer, now) {
		return errRate
	}
	extend(&s.readDeadline, now.Add(timeout), s.SetReadDeadline)
	if ctx.Err() != nil { // checked after setting the deadline, which may have replaced that of interrupt
		return errStopping
	}
	s.awaitPeek()
	if err := s.readFrame(); err != nil {
		switch {
		case errors.Is(err, io.EOF):
			return err
		case ctx.Err() != nil:
			return errStopping
		default:
			return fmt.Errorf("read request: %w", err)
		}
	}
	s.unanswered = wire.FrameSize(len(s.frame))
	return s.dialect.ParseRequest(&s.request, s.frame)
}

// readFrame reads the frame of a request, once there is memory for it.
func (s *stream) readFrame() error {
	size, err := wire.ReadSize(s.reader, s.dialect.MaxRequest)
	if err != nil {
		return err
	}
	if size > smallRequest && s.reserved == 0 {
		if err := s.Scope().ReserveMemory(requestMemory, network.ReservationPriorityAlways); err != nil {
			return fmt.Errorf("%w: %w", errResource, err)
		}
		s.reserved = requestMemory
	}
	frame, err := wire.ReadBody(s.reader, s.frame, size)
	if err == nil {
		s.frame = frame
	}
	return err
}

// reply answers the request that was read.
func (s *stream) reply(ctx context.Context) error {
	now := time.Now()
	previous, verdict := s.requests.charge(&s.caller, &s.request, now)
	var declined error
	switch verdict {
	case limit.Serve:
	case limit.Decline:
		declined = errTooMany
	case limit.Drop:
		return errRate
	}
	switch {
	case s.request.Kind == wire.Discover && declined == nil:
		return s.replyDiscover(ctx, now)
	case s.request.Kind == wire.Unregister && declined != nil:
		return errRate // there is no answer that could tell the peer
	}
	a, err := s.requests.answer(ctx, &s.caller, &s.request, previous, nil, declined, now)
	if err != nil {
		return err
	}
	return s.write(ctx, &a)
}

// replyDiscover answers a DISCOVER. A storage that copies may take long, so the sample is
// cancelled if the stream ends meanwhile.
func (s *stream) replyDiscover(ctx context.Context, now time.Time) (err error) {
	if s.requests.draws.Copies() { // requests are not quick then, so no answers wait, as peek requires
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		s.peek(cancel)
	}
	n := grantLimit(s.request.Discover.Limit, s.requests.config.discoverLimit)
	d, declined := s.requests.draws.Begin(ctx, s.caller.peer, s.caller.origin, s.Scope(), n, now)
	s.sent = 0
	defer func() { d.End(s.sent, err == nil, time.Now()) }()
	a, err := s.requests.answer(ctx, &s.caller, &s.request, previous{}, d, declined, now)
	if err != nil {
		return err
	}
	defer a.release()
	if gone := context.Cause(ctx); errors.Is(gone, errGone) {
		return gone
	}
	return s.write(ctx, &a)
}

// peek calls cancel if the stream is reset before the peer sends its next request. It waits
// for that in another goroutine, which uses reader. A peer that has sent more already, or
// that has half-closed the stream, is not watched. It is charged for its answer anyway. No answers must
// wait: the goroutine's read would send them.
func (s *stream) peek(cancel context.CancelCauseFunc) {
	if s.reader.Buffered() > 0 {
		return
	}
	peeking := make(chan struct{})
	s.peeking = peeking
	go func() {
		defer close(peeking)
		if _, err := s.reader.Peek(1); errors.Is(err, network.ErrReset) {
			cancel(fmt.Errorf("%w: %w", errGone, err))
		}
	}()
}

// awaitPeek waits until the goroutine of peek has ended.
func (s *stream) awaitPeek() {
	if s.peeking != nil {
		<-s.peeking
		s.peeking = nil
	}
}

// write writes an answer, at once or with the next ones, and reports it to the metrics.
func (s *stream) write(ctx context.Context, a *answer) error {
	now := time.Now()
	extend(&s.writeDeadline, now.Add(answerTimeout), s.SetWriteDeadline)
	if ctx.Err() != nil { // checked after setting the deadline, which may have replaced that of interrupt
		setDeadline(now.Add(stopTimeout), s.SetWriteDeadline)
	}
	a.Protocol, a.Received, s.unanswered, s.sent = s.dialect.ID, s.unanswered, 0, 0
	var err error
	if a.Type == RequestRegister {
		err = s.writeTogether(a, now)
	} else {
		a.Registrations, err = s.writeAnswer(a)
	}
	a.Sent = s.sent
	s.requests.config.metrics.RequestAnswered(a.RequestAnswered)
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// writeTogether adds the answer to a REGISTER to those that are still to be sent.
func (s *stream) writeTogether(a *answer, now time.Time) error {
	before := len(s.answers)
	if before == 0 {
		s.firstAnswer = now
	}
	if a.refusal != nil {
		s.answers = s.dialect.AppendRefusal(s.answers, s.request.Kind, int32(a.refusal.Status), a.refusal.Text)
	} else {
		s.answers = s.dialect.AppendRegistered(s.answers, wireSeconds(a.ttl))
	}
	s.sent = len(s.answers) - before
	if s.requests.quick && len(s.answers) < togetherSize && now.Sub(s.firstAnswer) < togetherTime {
		return nil
	}
	return s.flush()
}

// flush sends the answers that are still to be sent.
func (s *stream) flush() error {
	if len(s.answers) == 0 {
		return nil
	}
	_, err := s.Stream.Write(s.answers)
	s.answers = s.answers[:0]
	if err != nil {
		return fmt.Errorf("write answers: %w", err)
	}
	return nil
}

// Read reads from the stream. The peer may wait for the answers before it sends more.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	return s.Stream.Read(p)
}

// writeAnswer writes the frame of an answer that is not one to REGISTER, after those that wait. It
// returns how many registrations the answer has. A refusal is written in the memory of the request's
// frame.
func (s *stream) writeAnswer(a *answer) (registrations int, err error) {
	if a.Type == RequestUnregister {
		return 0, nil
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	if a.refusal != nil {
		_, err = s.Write(s.dialect.AppendRefusal(s.frame[:0], s.request.Kind, int32(a.refusal.Status), a.refusal.Text))
		return 0, err
	}
	buffers := &smallBuffers
	if len(a.found) > smallSample {
		buffers = &largeBuffers
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return s.dialect.WriteFound(s, *buffer, a.found, a.cookie)
}

var (
	smallBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, smallAnswer)) }}
	largeBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, largeAnswer)) }}
)

// Write writes to the stream and counts the bytes.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.sent += n
	return n, err
}

// interrupt makes serve return soon. Its context has ended.
func (s *stream) interrupt() {
	now := time.Now()
	setDeadline(now, s.SetReadDeadline)
	setDeadline(now.Add(stopTimeout), s.SetWriteDeadline)
}

// extend sets a deadline if it is at least a second after the current one. To set each one
// would set thousands of timers per second on a busy stream.
func extend(current *time.Time, deadline time.Time, set func(time.Time) error) {
	if deadline.Sub(*current) >= time.Second {
		*current = deadline
		setDeadline(deadline, set)
	}
}

// setDeadline sets a deadline. A stream that takes no deadline, such as a mock, has none.
func setDeadline(deadline time.Time, set func(time.Time) error) {
	if err := set(deadline); err != nil {
		logging.Log.Debug("stream takes no deadline", "error", err)
	}
}
