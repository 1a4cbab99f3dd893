package main

// Load for points: many peers in one process, that ask at a steady rate whether
// or not they are answered.

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
	points   []peer.AddrInfo
	peers    int
	rate     int // requests per second
	duration time.Duration
	discover float64 // share of requests
	limit    int
}

// load is peers that are connected to the points.
type load struct {
	plan      loadPlan
	namespace string
	hosts     []host.Host
	clients   []*rendezvous.Client

	register, discover tally
	elapsed            time.Duration
	first              atomic.Pointer[error] // what went wrong first
}

// dialling bounds how many peers connect at the same time.
const dialling = 16

func startLoad(ctx context.Context, plan loadPlan, p *progress) (*load, error) {
	l := &load{
		plan:      plan,
		namespace: fmt.Sprintf("rendezvous-bench-%08x", rand.Uint32()),
		hosts:     make([]host.Host, plan.peers),
		clients:   make([]*rendezvous.Client, plan.peers),
	}
	var connected atomic.Int64
	peers, ctx := errgroup.WithContext(ctx)
	peers.SetLimit(dialling)
	for i := range plan.peers {
		peers.Go(func() error {
			if err := l.connect(ctx, i); err != nil {
				return err
			}
			p.show("connecting", int(connected.Add(1)), plan.peers)
			return nil
		})
	}
	if err := peers.Wait(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// connect makes a peer. It listens nowhere, and says that it does, for a point
// registers nobody without an address.
func (l *load) connect(ctx context.Context, i int) error {
	h, err := newClientHost(libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr {
		return []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/9")}
	}))
	if err != nil {
		return err
	}
	l.hosts[i] = h
	l.clients[i] = rendezvous.NewClient(h, rendezvous.WithPoints(l.plan.points...))
	for _, p := range l.plan.points {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := dial(ctx, h, p)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) close() {
	var closing sync.WaitGroup
	for _, h := range l.hosts {
		if h != nil {
			closing.Go(func() { _ = h.Close() })
		}
	}
	closing.Wait()
}

// inFlight bounds how many requests wait for an answer, of each peer.
const inFlight = 16

// run makes requests for as long as planned. Each is due at its time, and its
// latency counts from then: when a point is slow, those that wait are slow too.
func (l *load) run(ctx context.Context, p *progress) {
	due := make(chan request, l.plan.rate) // a second's worth may be late
	var workers sync.WaitGroup
	for range min(l.plan.peers*inFlight, l.plan.rate, 4096) {
		workers.Go(func() {
			for r := range due {
				l.make(ctx, r)
			}
		})
	}
	started := time.Now()
	l.schedule(ctx, started, due, p)
	close(due)
	workers.Wait()
	l.elapsed = time.Since(started)
}

// request is who is to ask what, when.
type request struct {
	peer     int
	point    peer.ID
	discover bool
	at       time.Time
}

func (l *load) schedule(ctx context.Context, started time.Time, due chan<- request, p *progress) {
	all := int(l.plan.duration.Seconds() * float64(l.plan.rate))
	const step = 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for sent := 0; sent < all; {
		now := time.Now()
		for ; sent < all; sent++ {
			at := started.Add(time.Duration(float64(sent) / float64(l.plan.rate) * float64(time.Second)))
			if at.After(now) {
				break
			}
			select {
			case due <- l.next(sent, at):
			case <-ctx.Done():
				return
			}
		}
		p.show("measuring", sent, all)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// next is request number n: the first of each peer registers it.
func (l *load) next(n int, at time.Time) request {
	return request{
		peer:     n % l.plan.peers,
		point:    l.plan.points[n/l.plan.peers%len(l.plan.points)].ID,
		discover: n >= l.plan.peers && rand.Float64() < l.plan.discover,
		at:       at,
	}
}

func (l *load) make(ctx context.Context, r request) {
	client, into := l.clients[r.peer], &l.register
	var err error
	if r.discover {
		into = &l.discover
		_, err = client.Discover(ctx, r.point, l.namespace, l.plan.limit)
	} else {
		_, err = client.Register(ctx, r.point, l.namespace, 0)
	}
	if ctx.Err() != nil {
		return // interrupted, which says nothing of the point
	}
	if err != nil {
		l.first.CompareAndSwap(nil, &err)
	}
	into.add(time.Since(r.at), err)
}

// failure is what to tell when not everything was answered.
func (l *load) failure() error {
	err := l.first.Load()
	if err == nil {
		return nil
	}
	return asked(fmt.Errorf("not every request was granted; the first that was not: %w", *err))
}

func (l *load) results() []result {
	return []result{
		l.register.result("register", l.elapsed),
		l.discover.result("discover", l.elapsed),
	}
}
