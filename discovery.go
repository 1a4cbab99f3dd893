package rendezvous

// Searching for the peers of a namespace, as FindPeers does.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/points"
)

const (
	// minSearchInterval is the shortest time between two queries of a namespace.
	// Gossipsub would search every second, and ten times a second while it bootstraps.
	minSearchInterval = 750 * time.Millisecond
	// searchTimeout bounds a search, which asks points again if none answers.
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
		return nil, ErrNoPoints
	}
	r := newResults(limit)
	search := s.get(ns)
	go func() {
		defer close(r.out)
		search.run(ctx, limit, r)
	}()
	return r.out, nil
}

// get returns the search of a namespace. It forgets searches that have been idle for so
// long that everything they found has expired.
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

// results sends peers to a channel, each once, up to its capacity.
type results struct {
	out chan peer.AddrInfo // has room for all, so a send never blocks

	mu   sync.Mutex
	sent map[peer.ID]struct{}
}

func newResults(limit int) *results {
	return &results{out: make(chan peer.AddrInfo, limit), sent: make(map[peer.ID]struct{})}
}

func (r *results) send(sightings []points.Sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sightings {
		if _, twice := r.sent[s.Peer.ID]; twice || len(r.sent) == cap(r.out) {
			continue
		}
		r.sent[s.Peer.ID] = struct{}{}
		r.out <- peer.AddrInfo{ID: s.Peer.ID, Addrs: slices.Clone(s.Peer.Addrs)}
	}
}

func (r *results) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent) == cap(r.out)
}

// search is the search of one namespace. It has one query in flight at most, whose
// results all callers share.
type search struct {
	*asker
	namespace string
	used      time.Time // when it was last wanted; guarded by searches.mu

	mu       sync.Mutex
	last     time.Time     // when the last query began, unless its caller gave up
	progress chan struct{} // not nil while a query is in flight; closed when it brings something or ends
}

func newSearch(a *asker, ns string) *search { return &search{asker: a, namespace: ns} }

// idle reports whether no query is in flight.
func (s *search) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress == nil
}

// run sends peers to r: first those that the query in flight finds, or a query of its
// own, and then those known from before.
func (s *search) run(ctx context.Context, limit int, r *results) {
	for ctx.Err() == nil {
		if s.begin() {
			s.query(ctx, limit, r)
			break
		}
		progress := s.inFlight()
		if progress == nil {
			break // the points were asked a moment ago
		}
		r.send(s.known())
		select {
		case <-progress:
		case <-ctx.Done():
		}
	}
	r.send(s.known())
}

// known returns the peers whose registrations have not ended.
func (s *search) known() []points.Sighting { return s.points.Sightings().Live(s.namespace, 0) }

// begin reports whether the caller may begin a query. If so, it must.
func (s *search) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.progress != nil || !s.last.IsZero() && now.Sub(s.last) < minSearchInterval {
		return false
	}
	s.last, s.progress = now, make(chan struct{})
	return true
}

// end ends a query. After one whose caller gave up, the next may begin at once.
func (s *search) end(gaveUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gaveUp {
		s.last = time.Time{}
	}
	close(s.progress)
	s.progress = nil
}

// inFlight returns a channel that is closed when the query in flight brings something or
// ends. It is nil if there is no query.
func (s *search) inFlight() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// announce tells those who wait that the query has brought something.
func (s *search) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress != nil {
		close(s.progress)
		s.progress = make(chan struct{})
	}
}

// query asks the points of the namespace and sends what each finds when it answers. It
// asks again if no point answers at which the peers of the namespace meet.
func (s *search) query(ctx context.Context, limit int, r *results) {
	until := time.Now().Add(searchTimeout)
	within, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for !s.askOnce(within, limit, r) {
		wait := points.RetryAfter(s.meeting()...)
		if time.Until(until) < wait {
			break
		}
		r.send(s.known())
		select {
		case <-time.After(wait):
		case <-within.Done():
		}
	}
	s.end(ctx.Err() != nil)
}

// askOnce asks the points once and reports whether the query is finished.
func (s *search) askOnce(ctx context.Context, limit int, r *results) (finished bool) {
	answered, err := s.points.Ask(ctx, s.namespace, s.redundancy, 1, func(ctx context.Context, point *points.Point) error {
		seen, err := s.see(ctx, point, s.namespace, min(limit+1, MaxDiscoverLimit)) // one may be this host
		if err == nil {
			r.send(seen)
			s.announce()
		}
		return err
	})
	if err != nil {
		logging.Log.Debug("no rendezvous point answered", "namespace", s.namespace, "error", err)
	}
	return errors.Is(err, ErrNoPoints) || ctx.Err() != nil || r.full() || err == nil && s.metAt(answered)
}

// metAt reports whether one of the points that answered is one at which peers meet, or
// whether all of these are gone.
func (s *search) metAt(answered []*points.Point) bool {
	there := slices.DeleteFunc(s.meeting(), (*points.Point).Gone)
	return len(there) == 0 || slices.ContainsFunc(there, func(p *points.Point) bool { return slices.Contains(answered, p) })
}

func (s *search) meeting() []*points.Point { return s.points.Meeting(s.namespace, s.redundancy) }
