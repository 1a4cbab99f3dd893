package main

// The point under attack, and the honest peers that use it.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/redisstorage"
)

// honestNamespace is where honest peers register.
const honestNamespace = "honest"

// testTTL is the TTL of registrations that ask for none: short, so that nothing of an attack
// is left soon after it.
const testTTL = 3 * time.Second

// egressRate and egressBurst are the limits of answers to one peer, which are the defaults.
const (
	egressRate  = 1 << 20 // bytes per second
	egressBurst = 8 << 20 // bytes
)

type testbed struct {
	point       host.Host
	redis       *redisServer // nil: the storage is in memory
	storage     rendezvous.Pager
	service     *rendezvous.RendezvousService
	honestPeers atomic.Int32 // started so far
	attacks     atomic.Int32 // prepared so far

	mu    sync.Mutex
	addrs map[peer.ID]ma.Multiaddr  // where the point sees each peer
	sent  map[peer.ID]*atomic.Int64 // bytes that the point has written to each
	// expected has the time until which an honest peer may be discovered. The zero time
	// means that the peer is still running.
	expected map[peer.ID]time.Time
}

// newTestbed starts a point whose storage is in memory, or on a Redis that it starts.
func newTestbed(ctx context.Context, onRedis bool, opts ...rendezvous.ServiceOption) (*testbed, error) {
	b := &testbed{
		addrs:    make(map[peer.ID]ma.Multiaddr),
		sent:     make(map[peer.ID]*atomic.Int64),
		expected: make(map[peer.ID]time.Time),
	}
	if err := b.start(ctx, onRedis, opts); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *testbed) start(ctx context.Context, onRedis bool, opts []rendezvous.ServiceOption) (err error) {
	if !onRedis {
		b.storage, _ = rendezvous.NewMemoryStorage().(rendezvous.Pager)
	} else {
		if b.redis, err = startRedis(ctx); err != nil {
			return err
		}
		if b.storage, err = redisstorage.Open(ctx, b.redis.url()); err != nil {
			return err
		}
	}
	h, err := newPointHost()
	if err != nil {
		return err
	}
	b.point = &spoofedHost{Host: h, addrOf: b.addrOf, counterOf: b.counterOf}
	opts = append([]rendezvous.ServiceOption{rendezvous.WithTTL(testTTL, 0), rendezvous.WithEgressLimit(egressRate, egressBurst), rendezvous.WithStandardProtocol(0, 0)}, opts...)
	b.service = rendezvous.NewRendezvousService(b.point, b.storage, opts...)
	return b.service.Start()
}

// close ends what was started.
func (b *testbed) close() error {
	var errs []error
	if b.service != nil {
		b.service.Stop()
	}
	if b.point != nil {
		errs = append(errs, b.point.Close())
	}
	if b.storage != nil {
		errs = append(errs, b.storage.Close())
	}
	if b.redis != nil {
		errs = append(errs, b.redis.close())
	}
	return errors.Join(errs...)
}

// counterOf returns the counter of the bytes that the point writes to a peer.
func (b *testbed) counterOf(id peer.ID) *atomic.Int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sent[id] == nil {
		b.sent[id] = new(atomic.Int64)
	}
	return b.sent[id]
}

// sentTo returns how many bytes the point has written to a peer.
func (b *testbed) sentTo(id peer.ID) int64 { return b.counterOf(id).Load() }

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
	h, err := newPeerHost(n, nil)
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
		// The last request may finish: one that takes long must count.
		err := b.honestRequest(context.WithoutCancel(ctx), client, i)
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

// removeHonest removes the registrations of the honest peers, none of which runs any more,
// so that what is left is the attackers'.
func (b *testbed) removeHonest(ctx context.Context) error {
	b.mu.Lock()
	stopped := slices.Collect(maps.Keys(b.expected))
	clear(b.expected)
	b.mu.Unlock()
	for _, id := range stopped {
		if err := b.storage.Remove(ctx, honestNamespace, id); err != nil {
			return fmt.Errorf("remove the registration of an honest peer: %w", err)
		}
	}
	return nil
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
