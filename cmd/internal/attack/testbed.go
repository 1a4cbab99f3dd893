package main

// The point under attack, and the honest peers that use it.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// honestNamespace is where honest peers register.
const honestNamespace = "honest"

type testbed struct {
	point       host.Host
	storage     rendezvous.Storage
	service     *rendezvous.RendezvousService
	honestPeers atomic.Int32 // started so far

	mu    sync.Mutex
	addrs map[peer.ID]ma.Multiaddr // where the point sees each peer
	// expected has the time until which an honest peer may be discovered. The zero time
	// means that the peer is still running.
	expected map[peer.ID]time.Time
}

func newTestbed(opts ...rendezvous.ServiceOption) (*testbed, error) {
	h, err := newPointHost()
	if err != nil {
		return nil, err
	}
	b := &testbed{
		storage:  rendezvous.NewMemoryStorage(),
		addrs:    make(map[peer.ID]ma.Multiaddr),
		expected: make(map[peer.ID]time.Time),
	}
	b.point = &spoofedHost{Host: h, addrOf: b.addrOf}
	b.service = rendezvous.NewRendezvousService(b.point, b.storage, opts...)
	if err := b.service.Start(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return b, nil
}

func (b *testbed) close() error {
	b.service.Stop()
	return errors.Join(b.storage.Close(), b.point.Close())
}

func (b *testbed) addrOf(id peer.ID) ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addrs[id]
}

// setAddr sets the address at which the point sees a peer.
func (b *testbed) setAddr(id peer.ID, addr ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs[id] = addr
}

// streams returns the number of streams that the point serves, according to its resource
// manager.
func (b *testbed) streams() (n int) {
	_ = b.point.Network().ResourceManager().ViewService(rendezvous.ServiceName, func(s network.ServiceScope) error {
		n = s.Stat().NumStreamsInbound
		return nil
	})
	return n
}

// startHonest starts n honest peers. The function that it returns stops them and waits
// until they have ended.
func (b *testbed) startHonest(ctx context.Context, n int, stats *honestStats) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- b.runHonest(ctx, stats) })
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

// runHonest runs an honest peer until ctx ends. It sends ten requests per second.
func (b *testbed) runHonest(ctx context.Context, stats *honestStats) error {
	n := int(b.honestPeers.Add(1))
	h, err := newPeerHost(n)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	b.setAddr(h.ID(), publicAddr(n))
	if err := h.Connect(ctx, addrInfo(b.point)); err != nil {
		return ignoreEnd(ctx, err)
	}
	b.expect(h.ID(), time.Time{})
	defer func() { b.expect(h.ID(), time.Now().Add(rendezvous.MaxTTL+time.Second)) }()

	client := rendezvous.NewClient(h)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		started := time.Now()
		err := b.honestRequest(ctx, client, i)
		if ctx.Err() != nil {
			return nil
		}
		stats.record(time.Since(started), err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// honestRequest sends the ith request of a peer: REGISTER and DISCOVER alternate. It
// returns an error if an answer is wrong.
func (b *testbed) honestRequest(ctx context.Context, client *rendezvous.Client, i int) error {
	if i%2 == 0 {
		_, err := client.Register(ctx, b.point.ID(), honestNamespace, 0)
		return err
	}
	found, err := client.Discover(ctx, b.point.ID(), honestNamespace, 50)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("discovered no peer, not even itself")
	}
	for _, r := range found {
		if !b.isExpected(r.Peer.ID) {
			return fmt.Errorf("discovered %s, which is not a live honest peer", r.Peer.ID)
		}
	}
	return nil
}

func (b *testbed) expect(id peer.ID, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected[id] = until
}

func (b *testbed) isExpected(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.expected[id]
	return ok && (until.IsZero() || time.Now().Before(until))
}

// ignoreEnd returns err, or nil if ctx has ended.
func ignoreEnd(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
