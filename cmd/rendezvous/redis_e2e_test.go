package main

// Points that share a registry, each in a process of its own, while a point and the
// Redis server are killed.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// testPeer is a peer that stays registered in peersNamespace. It knows a single point.
type testPeer struct {
	id, point peer.ID
	client    *rendezvous.Client
	states    <-chan rendezvous.State
	state     rendezvous.State // the newest one received
}

const peersNamespace = "peers"

// startTestPeer starts a peer, which is closed at the end of the test.
func startTestPeer(t testing.TB, point string) *testPeer {
	t.Helper()
	infos, err := parsePointAddrs([]string{point})
	require.NoError(t, err)
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	p := &testPeer{id: h.ID(), point: infos[0].ID, client: rendezvous.NewClient(h, rendezvous.WithPoints(infos...))}
	ctx, cancel := context.WithCancel(context.Background())
	p.states, err = p.client.KeepRegistered(ctx, peersNamespace)
	if err != nil {
		cancel()
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		for range p.states { // closed when all goroutines of KeepRegistered have ended
		}
	})
	return p
}

// awaitRegistered waits until the point has accepted a registration that the peer sent
// after a time.
func (p *testPeer) awaitRegistered(ctx context.Context, after time.Time) error {
	for {
		for _, n := range p.state.Namespaces {
			for _, at := range n.Points {
				if at.Err == nil && at.Until.After(after.Add(rendezvous.DefaultTTL)) {
					return nil
				}
			}
		}
		select {
		case p.state = <-p.states:
		case <-ctx.Done():
			return fmt.Errorf("%s is not registered: %w: %+v", p.id, ctx.Err(), p.state)
		}
	}
}

// discover returns the peers that the peer's point knows.
func (p *testPeer) discover(ctx context.Context) (map[peer.ID]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // longer than a request's own timeout
	defer cancel()
	registrations, err := p.client.Discover(ctx, p.point, peersNamespace, 0)
	found := make(map[peer.ID]bool, len(registrations))
	for _, r := range registrations {
		found[r.Peer.ID] = true
	}
	return found, err
}

// awaitDiscover waits until the peer has discovered all others in one answer.
func (p *testPeer) awaitDiscover(ctx context.Context, others testPeers) error {
	retry := time.NewTicker(300 * time.Millisecond)
	defer retry.Stop()
	for {
		found, err := p.discover(ctx)
		missing := 0
		for _, o := range others {
			if o != p && !found[o.id] {
				missing++
			}
		}
		if err == nil && missing == 0 {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("%s has not discovered %d of %d peers: %w", p.id, missing, len(others), errors.Join(ctx.Err(), err))
		}
	}
}

type testPeers []*testPeer

// each calls f for all peers concurrently and returns their errors.
func (ps testPeers) each(f func(p *testPeer) error) error {
	errs := make([]error, len(ps))
	var calls sync.WaitGroup
	for i, p := range ps {
		calls.Go(func() { errs[i] = f(p) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

func (ps testPeers) awaitRegistered(ctx context.Context, after time.Time) error {
	return ps.each(func(p *testPeer) error { return p.awaitRegistered(ctx, after) })
}

func (ps testPeers) awaitDiscover(ctx context.Context, others testPeers) error {
	return ps.each(func(p *testPeer) error { return p.awaitDiscover(ctx, others) })
}

// split separates the peers that know a point from the others.
func (ps testPeers) split(point peer.ID) (at, elsewhere testPeers) {
	for _, p := range ps {
		if p.point == point {
			at = append(at, p)
		} else {
			elsewhere = append(elsewhere, p)
		}
	}
	return at, elsewhere
}

// TestSharedRegistryEndToEnd runs three points with one registry, and fifty peers that
// know one point each. All peers discover all others: at first, after a point was killed
// and restarted, and after the Redis server was killed and restarted empty.
func TestSharedRegistryEndToEnd(t *testing.T) {
	t.Parallel()
	binary := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 58*time.Second)
	defer cancel()
	started := time.Now()
	logStep := func(what string) { t.Logf("%5.1fs: %s", time.Since(started).Seconds(), what) }
	// await bounds a wait. The bound covers one refresh of all peers on a slow machine.
	await := func(what string, wait func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
		defer cancel()
		require.NoError(t, wait(ctx), what)
		logStep(what)
	}

	redisAddr, dir := freeAddr(t), t.TempDir()
	redis := startRedisAt(t, redisAddr)
	startPoint := func(name, listen string) *pointProcess {
		return startPointProcess(t, binary, "--listen", listen, "--key", filepath.Join(dir, name), "--storage", "redis://"+redisAddr)
	}
	var points []*pointProcess
	for _, name := range []string{"one", "two", "three"} {
		points = append(points, startPoint(name, "/ip4/127.0.0.1/tcp/0"))
	}
	var all testPeers
	for i := range 50 {
		all = append(all, startTestPeer(t, points[i%len(points)].addrs[0]))
	}
	await("all are registered", func(ctx context.Context) error { return all.awaitRegistered(ctx, started) })
	await("all discover all", func(ctx context.Context) error { return all.awaitDiscover(ctx, all) })

	// Kill a point. Peers of other points still discover its peers. Its own peers get an
	// error.
	addrOne := points[0].addrs[0]
	atOne, elsewhere := all.split(all[0].point)
	require.Len(t, atOne, 17)
	points[0].signal(syscall.SIGKILL)
	await("peers of other points discover all", func(ctx context.Context) error { return elsewhere.awaitDiscover(ctx, all) })
	require.NoError(t, atOne.each(func(p *testPeer) error {
		if _, err := p.discover(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
			return errors.Join(fmt.Errorf("%s: no error although its point is down", p.id), err)
		}
		return nil
	}))
	restarted := time.Now()
	listen, _, _ := strings.Cut(addrOne, "/p2p/")
	points[0] = startPoint("one", listen)
	require.Equal(t, addrOne, points[0].addrs[0], "the point has the same peer ID and address as before")
	await("its peers are registered again", func(ctx context.Context) error { return atOne.awaitRegistered(ctx, restarted) })
	await("all discover all again", func(ctx context.Context) error { return all.awaitDiscover(ctx, all) })

	// Kill the server, and restart it after three seconds. Meanwhile all requests get
	// E_UNAVAILABLE.
	redis.signal(syscall.SIGKILL)
	down := time.NewTimer(3 * time.Second)
	defer down.Stop()
	retry := time.NewTicker(250 * time.Millisecond)
	defer retry.Stop()
	rounds := 0
	for waiting := true; waiting; rounds++ {
		require.NoError(t, all.each(func(p *testPeer) error {
			if _, err := p.discover(ctx); !errors.Is(err, rendezvous.ErrUnavailable) {
				return errors.Join(fmt.Errorf("%s: not ErrUnavailable although the server is down", p.id), err)
			}
			return nil
		}))
		select {
		case <-retry.C:
		case <-down.C:
			waiting = false
		}
	}
	require.Greater(t, rounds, 1)
	logStep("the server was down")
	restarted = time.Now()
	startRedisAt(t, redisAddr)
	await("the points answer all requests", func(ctx context.Context) error { return all.awaitDiscover(ctx, nil) })
	await("all are registered again", func(ctx context.Context) error { return all.awaitRegistered(ctx, restarted) })
	await("all discover all once more", func(ctx context.Context) error { return all.awaitDiscover(ctx, all) })

	for _, p := range points {
		require.Zero(t, p.signal(syscall.SIGTERM), p.errs.String())
	}
}
