package rendezvous

// Searching for the peers of a namespace, as FindPeers does.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// minSearchInterval is the shortest time between the end of a query of a namespace
	// and the next. Gossipsub would search every second, and ten times a second while it
	// bootstraps. The interval grows by half with each query that finds nothing new.
	// maxSearchInterval is well under a TTL, so nobody who stays is forgotten meanwhile.
	minSearchInterval = 750 * time.Millisecond
	maxSearchInterval = 2500 * time.Millisecond
	// searchTimeout bounds a query, which asks points again if none answers, and the
	// search of each caller.
	searchTimeout = 8 * time.Second
	// defaultSearchLimit is how many peers a search returns if the caller does not say:
	// several times what a gossipsub mesh needs.
	defaultSearchLimit = 50
)

// searches has the search of each namespace.
type searches struct {
	*asker

	mu          sync.Mutex
	byNamespace map[string]*search
}

func newSearches(a *asker) *searches {
	return &searches{asker: a, byNamespace: make(map[string]*search)}
}

// find searches a namespace for up to limit peers; 0 is the default. The channel is
// closed when the search has ended.
func (s *searches) find(ctx context.Context, ns string, limit int) (<-chan peer.AddrInfo, error) {
	if limit == 0 {
		limit = defaultSearchLimit
	}
	limit = min(limit, MaxDiscoverLimit)
	if len(s.points.Known()) == 0 {
		s.silence.Searched(ns, ErrNoPoints)
		return nil, ErrNoPoints
	}
	c := newSearchCaller(s.host.Network(), limit)
	search := s.get(ns)
	go func() {
		defer close(c.out)
		ctx, cancel := context.WithTimeout(ctx, searchTimeout)
		defer cancel()
		search.run(ctx, c)
	}()
	return c.out, nil
}

// get returns the search of a namespace. It forgets searches that nobody has wanted for
// longer than MaxTTL. The peers that they found stay in the sightings.
func (s *searches) get(ns string) *search {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.byNamespace, func(other string, search *search) bool {
		return other != ns && search.idle() && time.Since(search.used) > MaxTTL
	})
	search := s.byNamespace[ns]
	if search == nil {
		search = newSearch(s.asker, ns)
		s.byNamespace[ns] = search
	}
	search.used = time.Now()
	return search
}

// searchCaller is a call of FindPeers. It gets each peer once.
type searchCaller struct {
	network network.Network
	out     chan peer.AddrInfo // has room for all, so a send never blocks
	sent    map[peer.ID]struct{}
}

func newSearchCaller(n network.Network, limit int) *searchCaller {
	return &searchCaller{network: n, out: make(chan peer.AddrInfo, limit), sent: make(map[peer.ID]struct{})}
}

// send sends up to most of the peers that were not sent yet. Peers that the host is
// connected to are left out: gossipsub knows them, and it would wait longer before it
// connects to such a peer again, each time that it is given one. So are peers without an
// address.
func (c *searchCaller) send(sightings []points.Sighting, most int) {
	for _, s := range sightings {
		if most == 0 || c.full() {
			return
		}
		if _, twice := c.sent[s.Peer.ID]; twice || len(s.Peer.Addrs) == 0 || c.network.Connectedness(s.Peer.ID) == network.Connected {
			continue
		}
		most--
		c.sent[s.Peer.ID] = struct{}{}
		c.out <- peer.AddrInfo{ID: s.Peer.ID, Addrs: slices.Clone(s.Peer.Addrs)}
	}
}

func (c *searchCaller) limit() int { return cap(c.out) }

func (c *searchCaller) full() bool { return len(c.sent) == cap(c.out) }

// search is the search of one namespace. It has one query in flight at most, whose
// results all callers share.
type search struct {
	*asker
	namespace string
	used      time.Time // when it was last wanted; guarded by searches.mu

	mu       sync.Mutex
	query    *query        // the one in flight, or the last one
	ended    time.Time     // when the last query ended; zero if it was given up
	interval time.Duration // between the end of the last query and the next
	version  uint64        // of the sightings when the last query ended
}

func newSearch(a *asker, ns string) *search {
	return &search{asker: a, namespace: ns, interval: minSearchInterval}
}

// query asks the points of a namespace.
type query struct {
	limit  int // how many peers the points are asked for
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended

	mu       sync.Mutex
	callers  int
	parts    int                 // between how many points the results are shared
	asked    []*points.Point     // those that have not answered
	answers  [][]points.Sighting // of each point that has answered
	progress chan struct{}       // closed and replaced when there is another answer
	fill     bool                // whether as many points have answered as were asked at first, or those that have not were given up
}

// idle reports whether no query is in flight.
func (s *search) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.query == nil || s.query.over()
}

func (q *query) over() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// run sends peers to the caller: those that a query finds, and then those known from
// before. If the query in flight asks for fewer peers than the caller wants, another one
// follows it.
func (s *search) run(ctx context.Context, c *searchCaller) {
	for ctx.Err() == nil && !c.full() {
		q := s.join(ctx, c.limit())
		if q == nil {
			break // the points were asked a moment ago
		}
		q.follow(ctx, c, s.known)
		q.leave()
	}
	c.send(s.known(), c.limit())
}

// known returns the peers whose registrations have not ended. Each point has its part
// first.
func (s *search) known() []points.Sighting { return s.points.Sightings().Live(s.namespace, 0) }

// join returns the query to wait for: the one in flight, or a new one if it is time or if
// the last one asked for fewer peers. The caller must leave it.
func (s *search) join(ctx context.Context, limit int) *query {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.query; q != nil {
		if !q.over() {
			q.join()
			return q
		}
		if !s.ended.IsZero() && time.Since(s.ended) < s.interval && limit <= q.limit {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), searchTimeout)
	q := &query{limit: limit, cancel: cancel, done: make(chan struct{}), progress: make(chan struct{}), callers: 1}
	s.query = q
	go func() {
		defer cancel()
		s.ask(ctx, q)
		s.end(q, errors.Is(ctx.Err(), context.Canceled) && !q.answered())
	}()
	return q
}

// end ends a query. If all callers gave up before it found anything, the next query may
// begin at once.
func (s *search) end(q *query, gaveUp bool) {
	version := s.points.Sightings().Version(s.namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval = min(s.interval*3/2, maxSearchInterval)
	if version != s.version || !q.answered() {
		s.interval = minSearchInterval
	}
	s.version, s.ended = version, time.Now()
	if gaveUp {
		s.ended = time.Time{}
	}
	close(q.done)
}

func (q *query) join() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.callers++
}

// leave ends the query if nobody waits for it any more, and waits for its end. That comes at
// once, because all requests of a query end with its context.
func (q *query) leave() {
	if q.left() > 0 {
		return
	}
	q.cancel()
	<-q.done
}

// left takes a caller away and returns how many are left.
func (q *query) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.callers--
	return q.callers
}

func (q *query) answered() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.answers) > 0
}

// follow sends what the query finds to a caller, until the query or ctx ends or the
// caller has all that it wants. Each point gets an equal part of what the caller wants, so
// that the fastest point cannot fill all of it. Once as many points have answered as were asked at
// first, or those that have not were given up, the rest is filled from everything that is known.
func (q *query) follow(ctx context.Context, c *searchCaller, known func() []points.Sighting) {
	for next := 0; ; {
		q.mu.Lock()
		answers, parts, fill, progress := q.answers[next:], q.parts, q.fill, q.progress
		q.mu.Unlock()
		next += len(answers)
		for _, answer := range answers {
			c.send(answer, c.limit()/parts)
		}
		if fill {
			c.send(known(), c.limit())
		}
		if c.full() && c.limit() <= q.limit {
			return
		}
		select {
		case <-progress:
		case <-q.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// update changes the query and tells those who follow it.
func (q *query) update(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
	close(q.progress)
	q.progress = make(chan struct{})
}

// begin records that a point is asked.
func (q *query) begin(point *points.Point) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.asked, point) {
		q.asked = append(q.asked, point)
	}
}

// ask asks the points of the namespace. It asks again if none of the points that peers
// of the namespace prefer has answered, and there is time for another attempt as long as the
// last one: a point that is silent gets one request of a query, and not one that is cut short.
func (s *search) ask(ctx context.Context, q *query) {
	for begun := time.Now(); !s.askOnce(ctx, q); begun = time.Now() {
		took, wait := time.Since(begun), points.RetryAfter(s.preferred()...)
		if until, _ := ctx.Deadline(); time.Until(until) < wait+took {
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// askOnce asks the points once and reports whether the query is finished.
func (s *search) askOnce(ctx context.Context, q *query) (finished bool) {
	parts := max(1, s.points.AtOnce(s.namespace, s.redundancy))
	q.update(func() { q.parts = max(q.parts, parts) })
	answered, err := s.points.Ask(ctx, s.namespace, s.redundancy, 1, func(ctx context.Context, point *points.Point) error {
		q.begin(point)
		seen, _, err := s.see(ctx, point, s.namespace, s.toAsk(q.limit))
		if err != nil {
			return err
		}
		q.update(func() {
			q.asked = slices.DeleteFunc(q.asked, func(p *points.Point) bool { return p == point })
			q.answers = append(q.answers, seen)
			q.fill = q.fill || len(q.answers) >= q.parts
		})
		return nil
	})
	if !errors.Is(ctx.Err(), context.Canceled) || err == nil {
		s.silence.Searched(s.namespace, err)
	}
	if err == nil {
		q.update(func() { s.fill(q) })
	} else {
		logging.Log.Debug("no rendezvous point answered", "namespace", s.namespace, "error", err)
	}
	return errors.Is(err, ErrNoPoints) || ctx.Err() != nil || err == nil && s.answeredByPreferred(answered)
}

// fill lets the caller's results be filled. Before that, each point that has not answered gets its
// part of them, from what it has said before. It may have said that in this query: the last of many
// pages is its answer. The caller holds q.mu.
func (s *search) fill(q *query) {
	for _, point := range q.asked {
		q.answers = append(q.answers, s.points.Sightings().ReportedBy(s.namespace, point.ID()))
	}
	q.fill = true
}

// toAsk returns how many peers to ask a point for so that limit of them can be handed out:
// one may be this host, and those that it is connected to are left out.
func (s *search) toAsk(limit int) int {
	n := limit + 1
	for _, sighting := range s.known() {
		if s.host.Network().Connectedness(sighting.Peer.ID) == network.Connected {
			n++
		}
	}
	return min(n, MaxDiscoverLimit)
}

// answeredByPreferred reports whether one of the preferred points has answered, or whether all of
// these are gone.
func (s *search) answeredByPreferred(answered []*points.Point) bool {
	there := slices.DeleteFunc(s.preferred(), (*points.Point).Gone)
	return len(there) == 0 || slices.ContainsFunc(there, func(p *points.Point) bool { return slices.Contains(answered, p) })
}

func (s *search) preferred() []*points.Point { return s.points.Preferred(s.namespace, s.redundancy) }
