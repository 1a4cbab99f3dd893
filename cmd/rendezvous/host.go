package main

// The libp2p host of the commands that query points.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// userAgent sets the name and version that libp2p tells other peers.
func userAgent() libp2p.Option { return libp2p.UserAgent("rendezvous/" + version()) }

// clientHost is a host that dials points.
type clientHost struct {
	host.Host
	names *nameResolver
}

// newClientHost returns a host that does not listen and has no resource limits. It can
// dial through relays.
func newClientHost(opts ...libp2p.Option) (*clientHost, error) {
	names := newNameResolver()
	opts = append([]libp2p.Option{
		libp2p.NoListenAddrs,
		libp2p.EnableRelay(), // NoListenAddrs disables it
		libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.MultiaddrResolver(names),
		userAgent(),
	}, opts...)
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, failf(exitFailed, "start a libp2p host: %w", err)
	}
	return &clientHost{h, names}, nil
}

// dial connects to a point. A request would connect as well, but then a point that is
// unreachable would look like one that does not answer.
func (h *clientHost) dial(ctx context.Context, point peer.AddrInfo) error {
	if err := h.Connect(ctx, point); err != nil {
		return failf(exitNoAnswer, "cannot reach rendezvous point %s: %w", point.ID, h.dialCause(point.Addrs, err))
	}
	return nil
}

// dialCause shortens the error of dialing addresses to each address and its root cause,
// and to each name that did not resolve. libp2p's own text has several lines, and no names.
func (h *clientHost) dialCause(addrs []ma.Multiaddr, err error) error {
	var causes []string
	for _, failure := range h.names.failures(addrs) {
		causes = append(causes, failure.Error())
	}
	if failed, ok := errors.AsType[*swarm.DialError](err); ok {
		for _, e := range failed.DialErrors {
			causes = append(causes, fmt.Sprintf("%s: %s", e.Address, rootCause(e.Cause)))
		}
	}
	if len(causes) == 0 {
		return err
	}
	return errors.New(strings.Join(causes, "; "))
}

// explain returns the error of a request by its cause if the point could not be dialed,
// and err otherwise.
func (h *clientHost) explain(err error) error {
	failed, ok := errors.AsType[*swarm.DialError](err)
	if !ok {
		return err
	}
	cause := h.dialCause(h.Peerstore().Addrs(failed.Peer), err)
	if errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("cannot reach it: %w", cause)
}

// dialAny connects to all points at the same time, and returns nil when it has reached
// one.
func (h *clientHost) dialAny(ctx context.Context, points []peer.AddrInfo) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	reached := false
	err := eachPoint(points, func(p peer.AddrInfo) error {
		err := h.dial(ctx, p)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			reached = true
			cancel() // the others
		}
		return err
	})
	if reached {
		return nil
	}
	return err
}

// eachPoint calls f for all points at the same time, so that a point that is silent does
// not take the time of the others. It returns the errors of all.
func eachPoint(points []peer.AddrInfo, f func(peer.AddrInfo) error) error {
	errs := make([]error, len(points))
	var calls sync.WaitGroup
	for i, p := range points {
		calls.Go(func() { errs[i] = f(p) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

// rootCause returns the innermost of the errors that err wraps, such as "connection
// refused".
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
