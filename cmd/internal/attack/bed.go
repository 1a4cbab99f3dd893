package main

// What is attacked: a point, and honest peers that use it meanwhile.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// where honest peers register.
const honestNamespace = "honest"

// bed is a point and its honest peers.
type bed struct {
	point   host.Host
	storage rendezvous.Storage
	service *rendezvous.RendezvousService
	joined  atomic.Int32 // honest peers there have been

	mu      sync.Mutex
	where   map[peer.ID]ma.Multiaddr // honest peers' addresses, and those of attackers
	members map[peer.ID]time.Time    // honest peers, and until when they may be found; zero: still there
}

func newBed(opts ...rendezvous.ServiceOption) (*bed, error) {
	h, err := newPointHost()
	if err != nil {
		return nil, err
	}
	b := &bed{
		storage: rendezvous.NewMemoryStorage(),
		where:   make(map[peer.ID]ma.Multiaddr),
		members: make(map[peer.ID]time.Time),
	}
	b.point = &elsewhere{Host: h, where: b.addressOf}
	b.service = rendezvous.NewRendezvousService(b.point, b.storage, opts...)
	if err := b.service.Start(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return b, nil
}

func (b *bed) close() error {
	b.service.Stop()
	return errors.Join(b.storage.Close(), b.point.Close())
}

func (b *bed) addressOf(id peer.ID) ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.where[id]
}

// place says where the point sees a peer.
func (b *bed) place(id peer.ID, at ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.where[id] = at
}

// streams is how many the point is serving, by its resource manager's books.
func (b *bed) streams() (n int) {
	_ = b.point.Network().ResourceManager().ViewService(rendezvous.ServiceName, func(s network.ServiceScope) error {
		n = s.Stat().NumStreamsInbound
		return nil
	})
	return n
}

// experience is what honest peers have noticed.
type experience struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []error
}

func (e *experience) note(took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.failed = append(e.failed, err)
		return
	}
	e.took = append(e.took, took)
}

// forget has what was noticed so far not count.
func (e *experience) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.took, e.failed = nil, nil
}

// requests is how many there were.
func (e *experience) requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.took) + len(e.failed)
}

// percentile is in how much time p of a hundred requests were answered.
func (e *experience) percentile(p int) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.took) == 0 {
		return 0
	}
	slices.Sort(e.took)
	return e.took[(len(e.took)-1)*p/100]
}

// live is an honest peer's life until ctx ends: it registers and looks for others,
// ten times a second, and notes what that was like.
func (b *bed) live(ctx context.Context, e *experience) error {
	n := int(b.joined.Add(1))
	h, err := newPeer(n)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	b.place(h.ID(), address(n))
	if err := h.Connect(ctx, info(b.point)); err != nil {
		return ignoreEnd(ctx, err)
	}
	b.member(h.ID(), time.Time{})
	defer func() { b.member(h.ID(), time.Now().Add(rendezvous.MaxTTL+time.Second)) }()

	client := rendezvous.NewClient(h)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		begun := time.Now()
		err := b.ask(ctx, client, i)
		if ctx.Err() != nil {
			return nil
		}
		e.note(time.Since(begun), err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask is one honest request.
func (b *bed) ask(ctx context.Context, client *rendezvous.Client, i int) error {
	if i%2 == 0 {
		_, err := client.Register(ctx, b.point.ID(), honestNamespace, 0)
		return err
	}
	found, err := client.Discover(ctx, b.point.ID(), honestNamespace, 50)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("nobody was found, not even the peer itself")
	}
	for _, r := range found {
		if !b.expected(r.Peer.ID) {
			return fmt.Errorf("%s was found, which is not an honest peer that may be there", r.Peer.ID)
		}
	}
	return nil
}

func (b *bed) member(id peer.ID, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[id] = until
}

func (b *bed) expected(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, known := b.members[id]
	return known && (until.IsZero() || time.Now().Before(until))
}

// honest has n honest peers live until the function that it returns is called,
// which returns when they are gone.
func (b *bed) honest(ctx context.Context, n int, e *experience) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- b.live(ctx, e) })
	}
	return func() error {
		cancel()
		wg.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(all...)
	}
}

// ignoreEnd is err, unless it is only that ctx has ended.
func ignoreEnd(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
