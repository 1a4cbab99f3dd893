package rendezvous

// discovery.Discovery for gossipsub and others, on top of the client.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// retryDelay is when Advertise wants to be called again after it failed.
	// Gossipsub waits two minutes on an error that comes without a delay.
	retryDelay = time.Second
	// minInterval is the shortest time between two searches of a namespace, which
	// gossipsub would have every second and Bootstrap every tenth of one.
	minInterval = 750 * time.Millisecond
	// defaultLimit is how many peers FindPeers asks each point for when its caller
	// does not say: several times what a gossipsub mesh needs.
	defaultLimit = 50
)

// Discovery registers a host in namespaces and finds the peers that did the same.
// It implements [discovery.Discovery]. All methods may be called at the same time.
type Discovery struct {
	client *Client

	mu       sync.Mutex
	searches map[string]*search // by namespace
}

var _ discovery.Discovery = (*Discovery)(nil)

// NewRendezvousDiscovery returns a [discovery.Discovery] for h, to pass to
// pubsub.WithDiscovery. It uses the points that [WithPoints] names, or else every
// peer of the host that speaks the protocol, also those that it meets later. What
// is wrong with an option is told by every call.
func NewRendezvousDiscovery(h host.Host, opts ...ClientOption) discovery.Discovery {
	return &Discovery{client: NewClient(h, opts...), searches: make(map[string]*search)}
}

// Advertise registers the host in namespace ns until about twice the duration that
// it returns, after which it wants to be called again. On an error the duration is
// when to retry, and is never zero: callers such as gossipsub take zero for two
// minutes. [discovery.TTL] is clamped to what the protocol allows.
func (d *Discovery) Advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	var options discovery.Options
	if err := options.Apply(opts...); err != nil {
		return retryDelay, fmt.Errorf("advertise in %q: %w", ns, err)
	}
	ttl := options.Ttl
	if ttl <= 0 || ttl > MaxTTL {
		ttl = DefaultTTL
	}
	next, err := d.client.advertise(ctx, ns, ttl)
	if err != nil {
		return retryDelay, fmt.Errorf("advertise in %q: %w", ns, err)
	}
	return next, nil
}

// advertise registers at the points of ns and returns how long to wait before
// doing so again.
func (c *Client) advertise(ctx context.Context, ns string, ttl time.Duration) (time.Duration, error) {
	if c.err != nil {
		return 0, c.err
	}
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	started := time.Now()
	var mu sync.Mutex
	shortest := ttl
	err := c.points.ask(ctx, ns, c.config.redundancy, func(ctx context.Context, point peer.ID) error {
		granted, err := c.Register(ctx, point, ns, ttl)
		if err == nil {
			mu.Lock()
			shortest = min(shortest, granted)
			mu.Unlock()
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return max(refreshAfter(shortest)-time.Since(started), retryDelay/2), nil
}

// refreshAfter is how long after it was granted a TTL is to be renewed: a little
// over half of it, which leaves time for a second attempt and a third.
func refreshAfter(ttl time.Duration) time.Duration {
	return jitter(ttl * 3 / 5)
}

// FindPeers searches for peers in namespace ns. The channel gives each once, as
// points answer, and is closed when they have or their time is up, which is a few
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
	if d.client.err != nil {
		return nil, d.client.err
	}
	if err := checkNamespace(ns); err != nil {
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
	out := make(chan peer.AddrInfo, limit) // roomy enough never to wait for its reader
	go func() {
		defer close(out)
		d.search(ns).run(ctx, ns, limit, out)
	}()
	return out, nil
}

// search is what is known of a namespace, and its one query in flight.
type search struct {
	client *Client
	turn   chan struct{} // holds a token: whoever takes it may query

	mu    sync.Mutex
	last  time.Time // when the last query began
	found map[peer.ID]sighting
}

// sighting is a peer that was found, until its registration ends.
type sighting struct {
	info  peer.AddrInfo
	until time.Time
}

// search returns the search of a namespace, and forgets those that found nothing
// that still lives.
func (d *Discovery) search(ns string) *search {
	d.mu.Lock()
	defer d.mu.Unlock()
	for other, s := range d.searches {
		if other != ns && s.idle() {
			delete(d.searches, other)
		}
	}
	s := d.searches[ns]
	if s == nil {
		s = &search{client: d.client, turn: make(chan struct{}, 1), found: make(map[peer.ID]sighting)}
		s.turn <- struct{}{}
		d.searches[ns] = s
	}
	return s
}

// idle reports whether nobody would miss s.
func (s *search) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.turn) == 1 && time.Since(s.last) > MaxTTL
}

// run puts peers of the namespace into out, which has room for limit of them:
// those that a query finds as points answer, or those already known.
func (s *search) run(ctx context.Context, ns string, limit int, out chan<- peer.AddrInfo) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return
	}
	given := make(map[peer.ID]struct{})
	var mu sync.Mutex // guards given, and out against more than limit
	give := func(info peer.AddrInfo) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := given[info.ID]; twice || len(given) == limit {
			return
		}
		given[info.ID] = struct{}{}
		out <- info
	}
	if s.due() {
		err := s.query(ctx, ns, limit, give)
		if err == nil {
			return
		}
		log.Debug("no rendezvous point answered", "namespace", ns, "error", err)
	}
	for _, info := range s.known() {
		give(info)
	}
}

// due reports whether a query may be made, and notes that it is.
func (s *search) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < minInterval {
		return false
	}
	s.last = now
	maps.DeleteFunc(s.found, func(_ peer.ID, f sighting) bool { return !now.Before(f.until) })
	return true
}

// query asks the points of the namespace, and hands on what each finds when it answers.
func (s *search) query(ctx context.Context, ns string, limit int, give func(peer.AddrInfo)) error {
	c := s.client
	err := c.points.ask(ctx, ns, c.config.redundancy, func(ctx context.Context, point peer.ID) error {
		found, err := c.Discover(ctx, point, ns, min(limit+1, MaxDiscoverLimit)) // one may be this host
		if err != nil {
			return err
		}
		for _, r := range found {
			if r.Peer.ID != c.host.ID() {
				s.note(r)
				give(r.Peer)
			}
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return nil // nobody waits for more
	}
	return err
}

func (s *search) note(r Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[r.Peer.ID] = sighting{info: r.Peer, until: time.Now().Add(r.TTL)}
}

// known returns the peers whose registrations still live.
func (s *search) known() []peer.AddrInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var infos []peer.AddrInfo
	for _, f := range s.found {
		if now.Before(f.until) {
			infos = append(infos, f.info)
		}
	}
	return infos
}
