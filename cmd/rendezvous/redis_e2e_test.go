package main

// Points that share a registry, each a process of its own, and what peers notice
// when a point or the server is killed.

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

// member is a peer that is kept registered in one namespace at the one point that
// it knows.
type member struct {
	id, point peer.ID
	client    *rendezvous.Client
	states    <-chan rendezvous.State
	state     rendezvous.State // the newest that was read
}

const membersNamespace = "members"

// startMember starts a peer that ends with the test.
func startMember(t testing.TB, point string) *member {
	t.Helper()
	infos, err := parsePointAddrs([]string{point})
	require.NoError(t, err)
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	m := &member{id: h.ID(), point: infos[0].ID, client: rendezvous.NewClient(h, rendezvous.WithPoints(infos...))}
	ctx, cancel := context.WithCancel(context.Background())
	m.states, err = m.client.KeepRegistered(ctx, membersNamespace)
	if err != nil {
		cancel()
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		for range m.states { // until what it started has ended
		}
	})
	return m
}

// registered returns when the peer's point has taken a registration that was asked
// for after a time.
func (m *member) registered(ctx context.Context, after time.Time) error {
	for {
		for _, n := range m.state.Namespaces {
			for _, at := range n.Points {
				if at.Err == nil && at.Until.After(after.Add(rendezvous.DefaultTTL)) {
					return nil
				}
			}
		}
		select {
		case m.state = <-m.states:
		case <-ctx.Done():
			return fmt.Errorf("%s is not registered: %w: %+v", m.id, ctx.Err(), m.state)
		}
	}
}

// find asks the peer's point who is there.
func (m *member) find(ctx context.Context) (map[peer.ID]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // requests have a bound of their own, below that
	defer cancel()
	registrations, err := m.client.Discover(ctx, m.point, membersNamespace, 0)
	found := make(map[peer.ID]bool, len(registrations))
	for _, r := range registrations {
		found[r.Peer.ID] = true
	}
	return found, err
}

type members []*member

// each does something for all at once, and returns what went wrong.
func (ms members) each(do func(m *member) error) error {
	errs := make([]error, len(ms))
	var doing sync.WaitGroup
	for i, m := range ms {
		doing.Go(func() { errs[i] = do(m) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

func (ms members) registered(ctx context.Context, after time.Time) error {
	return ms.each(func(m *member) error { return m.registered(ctx, after) })
}

// find returns when each of them has found all others, in one answer.
func (ms members) find(ctx context.Context, others members) error {
	return ms.each(func(m *member) error {
		again := time.NewTicker(300 * time.Millisecond)
		defer again.Stop()
		for {
			found, err := m.find(ctx)
			missing := 0
			for _, o := range others {
				if o != m && !found[o.id] {
					missing++
				}
			}
			if err == nil && missing == 0 {
				return nil
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return fmt.Errorf("%s misses %d of %d: %w", m.id, missing, len(others), errors.Join(ctx.Err(), err))
			}
		}
	})
}

// at returns those that know a point.
func (ms members) at(point peer.ID) (there, elsewhere members) {
	for _, m := range ms {
		if m.point == point {
			there = append(there, m)
		} else {
			elsewhere = append(elsewhere, m)
		}
	}
	return there, elsewhere
}

// TestSharedRegistryEndToEnd is fifty peers at three points with one registry, who
// find each other whichever point they know: from the start, when a point was killed
// and came back, and when the server was and had forgotten everything.
func TestSharedRegistryEndToEnd(t *testing.T) {
	t.Parallel()
	binary := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 58*time.Second)
	defer cancel()
	begun := time.Now()
	step := func(what string) { t.Logf("%5.1fs: %s", time.Since(begun).Seconds(), what) }
	// within bounds one wait: a refresh of everyone, and a slow machine.
	within := func(what string, wait func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
		defer cancel()
		require.NoError(t, wait(ctx), what)
		step(what)
	}

	addr, dir := freeAddr(t), t.TempDir()
	redis := redisProcess(t, addr)
	startPoint := func(name, listen string) *served {
		return serveProcess(t, binary, "--listen", listen, "--key", filepath.Join(dir, name), "--storage", "redis://"+addr)
	}
	var points []*served
	for _, name := range []string{"one", "two", "three"} {
		points = append(points, startPoint(name, "/ip4/127.0.0.1/tcp/0"))
	}
	var all members
	for i := range 50 {
		all = append(all, startMember(t, points[i%len(points)].at.addrs[0]))
	}
	within("everyone is registered", func(ctx context.Context) error { return all.registered(ctx, begun) })
	within("everyone finds everyone", func(ctx context.Context) error { return all.find(ctx, all) })

	// A point is killed: others know its peers, who hear that it is gone.
	addrOne := points[0].at.addrs[0]
	there, elsewhere := all.at(all[0].point)
	require.Len(t, there, 17)
	points[0].signal(syscall.SIGKILL)
	within("who is elsewhere finds everyone", func(ctx context.Context) error { return elsewhere.find(ctx, all) })
	require.NoError(t, there.each(func(m *member) error {
		if _, err := m.find(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
			return errors.Join(fmt.Errorf("%s is not told that its point is gone", m.id), err)
		}
		return nil
	}))
	back := time.Now()
	listen, _, _ := strings.Cut(addrOne, "/p2p/")
	points[0] = startPoint("one", listen)
	require.Equal(t, addrOne, points[0].at.addrs[0], "the point is who and where it was")
	within("its peers are registered anew", func(ctx context.Context) error { return there.registered(ctx, back) })
	within("everyone finds everyone again", func(ctx context.Context) error { return all.find(ctx, all) })

	// The server is killed, and back after three seconds. Peers hear at any time
	// that it is gone.
	redis.signal(syscall.SIGKILL)
	gone := time.NewTimer(3 * time.Second)
	defer gone.Stop()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	rounds := 0
	for waiting := true; waiting; rounds++ {
		require.NoError(t, all.each(func(m *member) error {
			if _, err := m.find(ctx); !errors.Is(err, rendezvous.ErrUnavailable) {
				return errors.Join(fmt.Errorf("%s is not told that the registry is gone", m.id), err)
			}
			return nil
		}))
		select {
		case <-again.C:
		case <-gone.C:
			waiting = false
		}
	}
	require.Greater(t, rounds, 1)
	step("the server was gone")
	back = time.Now()
	redisProcess(t, addr)
	within("the points answer everyone", func(ctx context.Context) error { return all.find(ctx, nil) })
	within("everyone is registered anew", func(ctx context.Context) error { return all.registered(ctx, back) })
	within("everyone finds everyone once more", func(ctx context.Context) error { return all.find(ctx, all) })

	for _, p := range points {
		require.Zero(t, p.signal(syscall.SIGTERM), p.errs.String())
	}
}
