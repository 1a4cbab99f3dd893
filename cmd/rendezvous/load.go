package main

// A load test: many peers in one process, which send requests at a constant rate
// whether or not earlier ones have been answered.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

type loadPlan struct {
	target
	peers    int
	rate     int // requests per second
	duration time.Duration
	discover float64 // the share of requests that are DISCOVER
	limit    int     // of each DISCOVER
}

// load is a set of simulated peers that are connected to the points.
type load struct {
	plan      loadPlan
	namespace string
	hosts     []host.Host
	clients   []*rendezvous.Client

	register, discover tally
	elapsed            time.Duration
	firstErr           atomic.Pointer[error] // of a request
}

// maxDialing bounds how many peers connect at the same time.
const maxDialing = 16

func startLoad(ctx context.Context, plan loadPlan, bar *progressBar) (*load, error) {
	l := &load{
		plan:      plan,
		namespace: fmt.Sprintf("rendezvous-bench-%08x", rand.Uint32()),
		hosts:     make([]host.Host, plan.peers),
		clients:   make([]*rendezvous.Client, plan.peers),
	}
	var connected atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxDialing)
	for i := range plan.peers {
		group.Go(func() error {
			if err := l.connect(ctx, i); err != nil {
				return err
			}
			bar.show("connecting", int(connected.Add(1)), plan.peers)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		l.close(ctx)
		return nil, err
	}
	return l, nil
}

// connect starts peer i and connects it to all points. The peer does not listen, but it
// announces an address, because a point refuses records without one.
func (l *load) connect(ctx context.Context, i int) error {
	h, err := newClientHost(libp2p.PrivateNetwork(l.plan.psk), libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr {
		return []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/9")}
	}))
	if err != nil {
		return err
	}
	l.hosts[i] = h
	l.clients[i] = l.plan.client(h)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return eachPoint(l.plan.points, func(p peer.AddrInfo) error { return h.dial(ctx, p) })
}

// close ends the peers. Their registrations would live on for hours at some points.
func (l *load) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	var closing sync.WaitGroup
	for i, h := range l.hosts {
		if h != nil {
			closing.Go(func() {
				for _, p := range l.plan.points {
					_ = l.clients[i].Unregister(ctx, p.ID, l.namespace) // as far as that is possible
				}
				_ = h.Close()
			})
		}
	}
	closing.Wait()
}

// maxInFlight bounds how many requests of each peer wait for an answer.
const maxInFlight = 16

// run sends requests for the planned duration. The latency of a request counts from the
// time at which it is due, and so includes waiting behind other requests.
func (l *load) run(ctx context.Context, bar *progressBar) {
	due := make(chan request, l.plan.rate) // up to one second of requests can be late
	var workers sync.WaitGroup
	for range min(l.plan.peers*maxInFlight, l.plan.rate, 4096) {
		workers.Go(func() {
			for r := range due {
				l.send(ctx, r)
			}
		})
	}
	started := time.Now()
	l.schedule(ctx, started, due, bar)
	close(due)
	workers.Wait()
	l.elapsed = time.Since(started)
}

type request struct {
	peer     int // index
	point    peer.ID
	discover bool // or register
	due      time.Time
}

// schedule puts each request into due at its time.
func (l *load) schedule(ctx context.Context, started time.Time, due chan<- request, bar *progressBar) {
	total := int(l.plan.duration.Seconds() * float64(l.plan.rate))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < total; {
		now := time.Now()
		for ; sent < total; sent++ {
			at := started.Add(time.Duration(float64(sent) / float64(l.plan.rate) * float64(time.Second)))
			if at.After(now) {
				break
			}
			select {
			case due <- l.request(sent, at):
			case <-ctx.Done():
				return
			}
		}
		bar.show("measuring", sent, total)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// request returns request number n. The first request of each peer registers it.
func (l *load) request(n int, due time.Time) request {
	return request{
		peer:     n % l.plan.peers,
		point:    l.plan.points[n/l.plan.peers%len(l.plan.points)].ID,
		discover: n >= l.plan.peers && rand.Float64() < l.plan.discover,
		due:      due,
	}
}

func (l *load) send(ctx context.Context, r request) {
	client, counts := l.clients[r.peer], &l.register
	var err error
	if r.discover {
		counts = &l.discover
		_, err = client.Discover(ctx, r.point, l.namespace, l.plan.limit)
	} else {
		_, err = client.Register(ctx, r.point, l.namespace, 0)
	}
	if ctx.Err() != nil {
		return // interrupted by the user
	}
	if err != nil {
		l.firstErr.CompareAndSwap(nil, &err)
	}
	counts.add(time.Since(r.due), err)
}

// err returns an error if any request was refused or failed.
func (l *load) err() error {
	first := l.firstErr.Load()
	if first == nil {
		return nil
	}
	return requestError(fmt.Errorf("some requests did not succeed; the first error: %w", *first))
}

func (l *load) results() []result {
	return []result{
		l.register.result("register", l.elapsed),
		l.discover.result("discover", l.elapsed),
	}
}
