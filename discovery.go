package rendezvous

// discovery.Discovery for gossipsub and others, on top of the client.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// retryDelay is how soon to try again at the earliest after a failure.
	retryDelay = time.Second
	// pointPatience is how long Advertise waits for the host to meet a first point.
	pointPatience = 5 * time.Second
	// minInterval is the shortest time between two searches of a namespace, which
	// gossipsub would have every second and Bootstrap every tenth of one.
	minInterval = 750 * time.Millisecond
	// searchTimeout bounds a search, in which points are asked again where none answers.
	searchTimeout = 8 * time.Second
	// defaultLimit is how many peers FindPeers gives when its caller does not say:
	// several times what a gossipsub mesh needs.
	defaultLimit = 50
)

// Discovery registers a host in namespaces and finds the peers that did the same.
// It implements [discovery.Discovery]. All methods may be called at the same time. The
// zero value is of no use: [NewRendezvousDiscovery] makes one.
type Discovery struct {
	client *Client

	mu       sync.Mutex
	searches map[string]*search // by namespace
}

var _ discovery.Discovery = (*Discovery)(nil)

// NewRendezvousDiscovery returns a [discovery.Discovery] for h, to pass to
// pubsub.WithDiscovery. It uses the points that [WithPoints] names, or else every
// peer of the host that speaks the protocol, also those that it meets later. What
// is wrong with an option is logged, and told by every call. Its value is a *[Discovery].
//
// The namespace of a gossipsub topic is "floodsub:" and the topic's name, which is
// gossipsub's choice: to ask a point who is in topic "news", discover "floodsub:news".
func NewRendezvousDiscovery(h host.Host, opts ...ClientOption) discovery.Discovery {
	return &Discovery{client: NewClient(h, opts...), searches: make(map[string]*search)}
}

// Advertise registers the host in namespace ns until about twice the duration that
// it returns, after which it wants to be called again. Where no point is known yet it
// waits a few seconds for one. On an error the duration is when to retry, and is
// never zero: callers such as gossipsub take zero for two minutes. [discovery.TTL]
// is clamped to what the protocol allows.
//
// Nothing happens between two calls: a host whose addresses change is found at the
// old ones until the next. [Client.KeepRegistered], beside it, is quicker.
func (d *Discovery) Advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	next, err := d.advertise(ctx, ns, opts...)
	if err != nil {
		return max(next, retryDelay), fmt.Errorf("advertise in %q: %w", ns, err)
	}
	return next, nil
}

func (d *Discovery) advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	var options discovery.Options
	if err := options.Apply(opts...); err != nil {
		return 0, err
	}
	if err := d.client.check(ns); err != nil {
		return 0, err
	}
	ttl := options.Ttl
	if ttl <= 0 || ttl > MaxTTL {
		ttl = DefaultTTL
	}
	d.client.points.await(ctx, pointPatience)
	return d.client.renew(ctx, ns, ttl, func(peer.ID, time.Duration, error) {})
}

// FindPeers searches for peers in namespace ns. The channel gives each once, as
// points answer, and is closed when they have or their time is up, which is eight
// seconds; its reader need not read it to the end. Points are not asked again
// within a moment of the last time: the peers then come from the searches before,
// for as long as their registrations live, and so they do where no point answers.
// [discovery.Limit] bounds how many peers there are, 50 by default. A channel that
// comes with an error is closed and empty.
func (d *Discovery) FindPeers(ctx context.Context, ns string, opts ...discovery.Option) (<-chan peer.AddrInfo, error) {
	out, err := d.findPeers(ctx, ns, opts...)
	if err != nil {
		closed := make(chan peer.AddrInfo)
		close(closed)
		return closed, fmt.Errorf("find peers in %q: %w", ns, err)
	}
	return out, nil
}

func (d *Discovery) findPeers(ctx context.Context, ns string, opts ...discovery.Option) (<-chan peer.AddrInfo, error) {
	var options discovery.Options
	if err := options.Apply(opts...); err != nil {
		return nil, err
	}
	if err := d.client.check(ns); err != nil {
		return nil, err
	}
	if options.Limit < 0 {
		return nil, fmt.Errorf("limit is %d", options.Limit)
	}
	limit := defaultLimit
	if options.Limit > 0 {
		limit = min(options.Limit, MaxDiscoverLimit)
	}
	if len(d.client.points.known()) == 0 {
		return nil, ErrNoPoints
	}
	g := &giver{out: make(chan peer.AddrInfo, limit), given: make(map[peer.ID]struct{})}
	s := d.search(ns)
	go func() {
		defer close(g.out)
		s.run(ctx, limit, g)
	}()
	return g.out, nil
}

// giver puts peers into a channel, each once, until it is full.
type giver struct {
	out chan peer.AddrInfo // roomy enough never to wait for its reader

	mu    sync.Mutex
	given map[peer.ID]struct{}
}

func (g *giver) give(infos ...peer.AddrInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, info := range infos {
		if _, twice := g.given[info.ID]; twice || len(g.given) == cap(g.out) {
			continue
		}
		g.given[info.ID] = struct{}{}
		g.out <- peer.AddrInfo{ID: info.ID, Addrs: slices.Clone(info.Addrs)}
	}
}

func (g *giver) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.given) == cap(g.out)
}

// search is what is known of a namespace, and its one query in flight.
type search struct {
	client *Client
	ns     string

	used time.Time // when somebody last wanted it; guarded by the Discovery's lock

	mu    sync.Mutex
	last  time.Time     // when the last query began, unless it was given up
	news  chan struct{} // while a query is in flight; closed when it brings something or ends
	found sightings
}

// search returns the search of a namespace, and forgets those that nobody has wanted
// for so long that nothing they found still lives.
func (d *Discovery) search(ns string) *search {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.searches, func(other string, s *search) bool { return other != ns && s.idle() })
	s := d.searches[ns]
	if s == nil {
		s = &search{client: d.client, ns: ns, found: newSightings()}
		d.searches[ns] = s
	}
	s.used = time.Now()
	return s
}

// idle reports whether nobody would miss s. The caller holds the Discovery's lock.
func (s *search) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news == nil && time.Since(s.used) > MaxTTL
}

// run gives peers of the namespace: those that a query finds, its own or the one
// that is in flight, as points answer, and then those known from before.
func (s *search) run(ctx context.Context, limit int, g *giver) {
	for ctx.Err() == nil {
		if s.begin() {
			s.query(ctx, limit, g)
			break
		}
		news := s.inFlight()
		if news == nil {
			break // points were asked a moment ago
		}
		g.give(s.live()...)
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
	g.give(s.live()...)
}

// begin reports whether the caller may make a query, which it then must.
func (s *search) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.news != nil || !s.last.IsZero() && now.Sub(s.last) < minInterval {
		return false
	}
	s.last, s.news = now, make(chan struct{})
	return true
}

// end ends a query. One that was given up does not keep others from making theirs.
func (s *search) end(givenUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if givenUp {
		s.last = time.Time{}
	}
	close(s.news)
	s.news = nil
}

// inFlight returns what is closed at the query's next news, nil if there is no query.
func (s *search) inFlight() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// query asks the points of the namespace, and hands on what each finds when it
// answers. Where none of those answers at which peers meet, it asks again.
func (s *search) query(ctx context.Context, limit int, g *giver) {
	until := time.Now().Add(searchTimeout)
	within, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for !s.ask(within, limit, g) {
		wait := s.client.points.retryAfter(s.meeting()...)
		if time.Until(until) < wait {
			break
		}
		g.give(s.live()...)
		select {
		case <-time.After(wait):
		case <-within.Done():
		}
	}
	s.end(ctx.Err() != nil)
}

// ask asks the points once, and reports whether that is all there is to do.
func (s *search) ask(ctx context.Context, limit int, g *giver) (done bool) {
	c := s.client
	answered, err := c.points.ask(ctx, s.ns, c.config.redundancy, 1, func(ctx context.Context, point peer.ID) error {
		found, err := c.Discover(ctx, point, s.ns, min(limit+1, MaxDiscoverLimit)) // one may be this host
		if err == nil {
			g.give(s.note(point, found)...)
		}
		return err
	})
	if err != nil {
		log.Debug("no rendezvous point answered", "namespace", s.ns, "error", err)
	}
	return errors.Is(err, ErrNoPoints) || ctx.Err() != nil || g.full() || err == nil && s.met(answered)
}

// met reports whether one of the points answered at which peers meet, or would
// have, were they not gone.
func (s *search) met(answered []peer.ID) bool {
	there := slices.DeleteFunc(s.meeting(), s.client.points.gone)
	return len(there) == 0 || slices.ContainsFunc(there, func(id peer.ID) bool { return slices.Contains(answered, id) })
}

func (s *search) meeting() []peer.ID {
	return s.client.points.meeting(s.ns, s.client.config.redundancy)
}

// note keeps what a point found, and returns the newest that is known of each.
func (s *search) note(point peer.ID, found []Registration) []peer.AddrInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.expire()
	infos := make([]peer.AddrInfo, 0, len(found))
	for _, r := range found {
		if r.Peer.ID != s.client.host.ID() {
			newest, _ := s.found.note(point, r)
			infos = append(infos, newest.info)
		}
	}
	if s.news != nil {
		close(s.news)
		s.news = make(chan struct{})
	}
	return infos
}

// live returns the peers whose registrations still live.
func (s *search) live() []peer.AddrInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.expire()
	infos := make([]peer.AddrInfo, 0, len(s.found.peers))
	for _, seen := range s.found.peers {
		infos = append(infos, seen.info)
	}
	return infos
}
