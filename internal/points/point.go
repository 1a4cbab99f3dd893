package points

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// fairTime is how long a request must have run when its caller gives up to count as
	// a failure of the point.
	fairTime = time.Second
	// maxTries is how many dead connections a request may run into.
	maxTries = 2
)

// Point is one rendezvous point. Its methods may be called from many goroutines at the
// same time.
type Point struct {
	config    *Config
	id        peer.ID
	conns     conns
	pace      *pace
	idle      idleStreams
	watchdogs watchdogs
	slots     chan struct{} // holds a token for each call of InTurn that has its turn

	mu               sync.Mutex
	addrs            []ma.Multiaddr // to dial; replaced, never written to
	seen             time.Time      // when the peerstore last said that it speaks the protocol
	backoff          backoff
	trying           bool          // whether a request finds out if the backoff can end
	changed          chan struct{} // closed and replaced when the backoff changes
	answerTime       answerTime
	brokenBatches    int       // in a row
	noBatches        time.Time // until then, none are sent
	registrationSize registrationSize
	follows          *simplelru.LRU[string, *Follow] // by namespace
}

func newPoint(c *Config, id peer.ID) *Point {
	follows, _ := simplelru.NewLRU[string, *Follow](maxFollowed, nil) // the only error is that of a size of 0
	return &Point{
		config: c, id: id, conns: conns{c.Host, id}, pace: newPace(),
		slots: make(chan struct{}, MaxIdleStreams), changed: make(chan struct{}), follows: follows,
	}
}

// ID returns the point's peer ID.
func (p *Point) ID() peer.ID { return p.id }

// RoundTrip makes a request and counts how it ends. The request first waits for the end of the
// point's backoff; if that is too far off, it fails at once. Then it waits for the point's pace.
// Then it takes at most five seconds. All of it ends with ctx. The error says which step has
// failed, or is that of r.Read; it does not name the point.
func (p *Point) RoundTrip(ctx context.Context, r Request) error {
	trial, err := p.admit(ctx)
	if err != nil {
		return err
	}
	if err := p.pace.wait(ctx, r.Urgent, cmp.Or(r.Price, 1)); err != nil {
		p.endTrial(trial)
		return err
	}
	begun := time.Now()
	err = p.exchange(ctx, begun, r)
	p.count(ctx, begun, err)
	p.endTrial(trial)
	return err
}

// RoundTrips makes requests as RoundTrip does, and sends several together on a kept stream, in
// one write. It returns the errors of the requests. If there are several, it neither waits for
// the point's pace nor makes a request again on another stream: the error of those that were not
// answered is [ErrNotAnswered].
func (p *Point) RoundTrips(ctx context.Context, requests []Request) []error {
	if len(requests) == 1 {
		return []error{p.RoundTrip(ctx, requests[0])}
	}
	errs := p.together(ctx, requests[:p.letThrough(requests)])
	return append(errs, slices.Repeat([]error{ErrNotAnswered}, len(requests)-len(errs))...)
}

// letThrough returns how many of the requests may be sent together now.
func (p *Point) letThrough(requests []Request) int {
	if p.Failing() {
		return 0
	}
	for n, limit := 0, min(len(requests), p.maxBatch()); ; n++ {
		if n == limit || !p.pace.try(cmp.Or(requests[n].Price, 1)) {
			return n
		}
	}
}

// together makes requests on a kept stream. If none is kept, the first request opens it. It
// returns the errors of the requests that were answered, and of the first.
func (p *Point) together(ctx context.Context, requests []Request) (errs []error) {
	for len(requests) > 0 {
		if st := p.keptStream(); st != nil {
			return append(errs, p.batch(ctx, st, requests)...)
		}
		if len(errs) > 0 {
			break
		}
		begun := time.Now()
		err := p.exchange(ctx, begun, requests[0])
		if err != nil && ctx.Err() != nil {
			break // the others could not wait any longer, which says nothing about the point
		}
		p.count(ctx, begun, err)
		errs = append(errs, err)
		requests = requests[1:]
	}
	return errs
}

// batch makes requests in one write. It returns the errors of those that were answered.
func (p *Point) batch(ctx context.Context, st *keptStream, requests []Request) []error {
	begun := time.Now()
	e := newExchange()
	defer e.release()
	b := &batch{stream: st, requests: requests}
	err := p.onKept(ctx, e, st, func() error {
		return onStream(ctx, st, func() error { return b.exchange(e, p.restTime()) })
	})
	for _, err := range b.errs {
		p.count(ctx, begun, err)
	}
	if len(requests) > 1 && !st.Conn().IsClosed() && (len(b.errs) > 0 || time.Since(begun) >= probeAfter) {
		p.batchEnded(err == nil)
	}
	return b.errs
}

// maxBatch returns how many requests to send together.
func (p *Point) maxBatch() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.noBatches) {
		return 1
	}
	return min(maxBatch, max(1, p.answerTime.within(batchTime)))
}

// batchEnded records whether all requests of a batch were answered. It is called if the first one
// was, or if none was for a second.
func (p *Point) batchEnded(whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.brokenBatches++; whole {
		p.brokenBatches = 0
	}
	if p.brokenBatches >= maxBrokenBatches {
		p.noBatches = time.Now().Add(noBatchTime)
	}
}

// InTurn calls request, which makes a request at the point, when fewer than [MaxIdleStreams]
// other calls are under way. So the registrations of many namespaces need no more streams than
// are kept, and those at another point do not wait for this one.
func (p *Point) InTurn(ctx context.Context, request func() error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
		return request()
	case <-ctx.Done():
		return fmt.Errorf("wait for other registrations: %w", ctx.Err())
	}
}

// admit returns when the point may be asked. While it is in backoff, one request at a time
// tries whether it is back, and the others share the outcome. It reports whether this
// request is the one; endTrial must then be called.
func (p *Point) admit(ctx context.Context) (trial bool, err error) {
	begun := time.Now()
	for {
		b, changed, admitted := p.tryAdmit()
		if admitted {
			return b.failures > 0, nil
		}
		if b.since.After(begun) {
			return false, b.err // the outcome of the trial
		}
		wait := time.Until(b.until)
		if deadline, has := ctx.Deadline(); wait > requestTimeout || has && wait > time.Until(deadline) {
			return false, becauseOf(ctx, fmt.Errorf("in backoff: %w", b.err))
		}
		timer := time.NewTimer(max(wait, time.Millisecond))
		if wait <= 0 {
			timer.Stop() // the end of the trial changes the backoff
		}
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return false, fmt.Errorf("in backoff: %w: %w", ctx.Err(), b.err)
		}
		timer.Stop()
	}
}

func (p *Point) tryAdmit() (b backoff, changed <-chan struct{}, admitted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.backoff.failures == 0:
		admitted = true
	case !p.trying && !p.backoff.active(time.Now()):
		p.trying, admitted = true, true
	}
	return p.backoff, p.changed, admitted
}

func (p *Point) endTrial(trial bool) {
	if !trial {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trying = false
	p.announce()
}

// announce tells those who wait that the backoff has changed. The caller holds mu.
func (p *Point) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// exchange makes a request: on a kept stream, or else on a new one. A connection that is older
// than the request and turns out to be dead is closed, and the request is made again.
func (p *Point) exchange(ctx context.Context, begun time.Time, r Request) error {
	e := newExchange()
	defer e.release()
	id, err := p.reuse(ctx, e, r)
	if err != nil && ctx.Err() == nil {
		id, err = p.onNewStream(ctx, begun, e, r, err)
	}
	if err != nil {
		return becauseOf(ctx, err)
	}
	return r.Read(e.frame, id)
}

// becauseOf returns the error of a request, with that of ctx if it has ended. libp2p's own errors do
// not always say so, and that no stream is kept is no reason.
func becauseOf(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil || errors.Is(err, ctx.Err()):
		return err
	case errors.Is(err, errNoStream):
		return fmt.Errorf("open stream: %w", ctx.Err())
	default:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
}

// errNoStream means that no stream is kept.
var errNoStream = errors.New("no idle stream")

// reuse makes a request on a kept stream. An error before the request's time is over says nothing
// about the point: only the stream may have been broken.
func (p *Point) reuse(ctx context.Context, e *exchange, r Request) (protocol.ID, error) {
	st := p.keptStream()
	if st == nil {
		return "", errNoStream
	}
	return st.Protocol(), p.onKept(ctx, e, st, func() error { return e.do(ctx, st, r) })
}

// keptStream returns a stream to use again, or nil.
func (p *Point) keptStream() *keptStream {
	direct := p.conns.direct()
	return p.idle.take(func(c network.Conn) bool { return !c.IsClosed() && (!direct || !c.Stat().Limited) })
}

// onKept makes a request on a kept stream.
func (p *Point) onKept(ctx context.Context, e *exchange, st *keptStream, request func() error) error {
	st.timeout.Reset(requestTimeout)
	err := p.watched(e, st.Conn(), request)
	if !st.timeout.Stop() && err != nil { // the point is slow, which says nothing about the stream
		return fmt.Errorf("wait for answer: %w", context.DeadlineExceeded)
	}
	if ctx.Err() == nil && !e.watchdog.closed() && !st.Conn().IsClosed() {
		p.idle.used(err == nil || errors.Is(err, errBatch))
	}
	return p.finish(e, st, err)
}

// watched calls wait, which waits for something to come on a connection from before the request.
// If the connection is dead, it is closed.
func (p *Point) watched(e *exchange, c network.Conn, wait func() error) error {
	e.watchdog = p.watchdogs.of(c)
	e.watchdog.begin(p.probeTime())
	defer e.watchdog.end()
	return wait()
}

// onNewStream makes a request on a new stream, in what is left of the request's time. err is why it
// was not made on a kept one.
func (p *Point) onNewStream(ctx context.Context, begun time.Time, e *exchange, r Request, err error) (protocol.ID, error) {
	ctx, cancel := context.WithDeadline(ctx, begun.Add(requestTimeout))
	defer cancel()
	var id protocol.ID
	for try := 0; ctx.Err() == nil; try++ {
		var again bool
		if again, id, err = p.try(ctx, begun, e, r); !again || try == maxTries {
			break
		}
	}
	return id, err
}

// try makes a request on a new stream, and on a new connection if there is none. again is
// whether it failed only because a connection from before the request was dead or is closed now.
func (p *Point) try(ctx context.Context, begun time.Time, e *exchange, r Request) (again bool, id protocol.ID, err error) {
	p.introduce()
	again, st, err := p.open(ctx, begun, e)
	if err != nil {
		return again, "", fmt.Errorf("open stream: %w", err)
	}
	request := func() error { return e.do(ctx, st, r) }
	old := st.Conn().Stat().Opened.Before(begun)
	if old {
		err = p.watched(e, st.Conn(), request)
	} else {
		e.watchdog = p.watchdogs.of(st.Conn()) // other requests may wait on the connection
		err = request()
	}
	err = p.finish(e, st, err)
	return err != nil && (e.watchdog.closed() || old && st.Conn().IsClosed()), st.Protocol(), err
}

// open opens a stream. again is whether this fails because a connection from before the
// request was dead.
func (p *Point) open(ctx context.Context, begun time.Time, e *exchange) (again bool, st network.Stream, err error) {
	old := p.conns.old(begun)
	if old == nil {
		st, err = openStream(ctx, p.config, p.id, p.currentBackoff().failures)
		return false, st, err
	}
	err = p.watched(e, old, func() (err error) {
		st, err = openStream(ctx, p.config, p.id, p.currentBackoff().failures)
		return err
	})
	return e.watchdog.closed(), st, err
}

// AnswerLimit returns how many registrations to ask for, at most wanted, so that the answer comes
// through: the host may be connected to the point only over a relay that carries a limited
// number of bytes. limited is whether it is.
func (p *Point) AnswerLimit(wanted int) (limit int, limited bool) {
	budget, limited := p.conns.answerBudget()
	if !limited {
		return wanted, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.registrationSize.fit(budget, wanted), true
}

// LimitedAnswer records what came of AnswerLimit: the size of an answer with n registrations,
// or that it has failed to come through.
func (p *Point) LimitedAnswer(n, bytes int, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if failed {
		p.registrationSize.grow()
	} else {
		p.registrationSize.add(n, bytes)
	}
}

// finish keeps the stream of a request that was answered, and records how long the answer
// took.
func (p *Point) finish(e *exchange, st network.Stream, err error) error {
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.answerTime.add(e.took)
	p.mu.Unlock()
	if e.clean() {
		p.idle.put(st)
	} else {
		_ = st.Reset()
	}
	return nil
}

func (p *Point) probeTime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answerTime.probe()
}

func (p *Point) restTime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answerTime.rest()
}

// introduce makes sure that the host knows where the point is. Addresses in a peerstore
// expire, and a newer record of the peer removes them.
func (p *Point) introduce() {
	if p.conns.direct() {
		return
	}
	p.mu.Lock()
	addrs := p.addrs
	p.mu.Unlock()
	p.config.Host.Peerstore().AddAddrs(p.id, addrs, peerstore.TempAddrTTL)
}

// count ends or begins the point's backoff, for a request that began at begun and has
// ended with err.
func (p *Point) count(ctx context.Context, begun time.Time, err error) {
	verdict := Answered
	if err != nil {
		verdict = p.config.Judge(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case verdict != Failed && p.backoff.failures > 0:
		p.backoff = backoff{}
		p.announce()
	case verdict != Failed:
	case ctx.Err() != nil && time.Since(begun) < fairTime:
		// The caller gave up at once, which says nothing about the point.
	case errors.Is(err, network.ErrResourceLimitExceeded): // one of this host
		p.backoff.pause(begun, time.Now(), err)
	default:
		p.backoff.fail(begun, time.Now(), err)
	}
	switch verdict {
	case TooMuch:
		p.pace.tooMuch(begun)
	case Answered:
		p.pace.answered()
	case Failed:
	}
}

// retryNow lets the point be tried now if it is in backoff, because it has connected. Only
// an answer ends the backoff.
func (p *Point) retryNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backoff.retryNow(time.Now()) {
		p.announce()
	}
}

// inBackoff reports whether the point is in backoff. A point that has connected since
// its last failure may be tried now.
func (p *Point) inBackoff() bool {
	b := p.currentBackoff()
	if b.active(time.Now()) && p.ConnectedSince(b.since) {
		p.retryNow()
		b = p.currentBackoff()
	}
	return b.active(time.Now())
}

func (p *Point) currentBackoff() backoff {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backoff
}

// Failing reports whether the last request at the point has failed.
func (p *Point) Failing() bool { return p.currentBackoff().failures > 0 }

// Gone reports whether the point has failed so often in a row that other peers, too,
// will have gone on to the next point.
func (p *Point) Gone() bool { return p.currentBackoff().failures >= goneAfter }

// Reachable reports whether there is a connection to the point, over a relay or not.
func (p *Point) Reachable() bool { return p.conns.exist() }

// ConnectedSince reports whether there is a connection to the point that was opened
// after t.
func (p *Point) ConnectedSince(t time.Time) bool { return p.conns.openedSince(t) }

// Follow returns how far the list of a namespace was read, once nobody else reads in it.
func (p *Point) Follow(ctx context.Context, namespace string) (*Follow, error) {
	f := p.followed(namespace)
	select {
	case f.turn <- struct{}{}:
		return f, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another search at the point: %w", ctx.Err())
	}
}

func (p *Point) followed(namespace string) *Follow {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, known := p.follows.Get(namespace)
	if !known {
		f = p.FollowOnce(namespace)
		p.follows.Add(namespace, f)
	}
	f.wanted = time.Now()
	return f
}

// FollowOnce returns a Follow that begins at the first page and is not shared. Done need not be
// called.
func (p *Point) FollowOnce(namespace string) *Follow {
	return newFollow(p.conns, namespace)
}

// FollowedSince reports whether the list of a namespace was wanted after t.
func (p *Point) FollowedSince(namespace string, t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, known := p.follows.Peek(namespace)
	return known && f.wanted.After(t)
}

// setAddrs sets the addresses at which to dial the point. The point owns the slice
// from then on.
func (p *Point) setAddrs(addrs []ma.Multiaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs = addrs
}

// setSeen records that the peerstore had the peer as a point at the time t.
func (p *Point) setSeen(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = t
}

// lastSeen returns when the peerstore last had the peer as a point.
func (p *Point) lastSeen() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}
