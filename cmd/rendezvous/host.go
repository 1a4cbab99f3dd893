package main

// The libp2p host of the commands that query points.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// userAgent sets the name and version that libp2p tells other peers.
func userAgent() libp2p.Option { return libp2p.UserAgent("rendezvous/" + version()) }

// newClientHost returns a host that does not listen and has no resource limits.
func newClientHost(opts ...libp2p.Option) (host.Host, error) {
	opts = append([]libp2p.Option{
		libp2p.NoListenAddrs,
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		userAgent(),
	}, opts...)
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, failf(exitFailed, "start a libp2p host: %w", err)
	}
	return h, nil
}

// dial connects to a point. A request would connect as well, but then a point that is
// unreachable would look like one that does not answer.
func dial(ctx context.Context, h host.Host, point peer.AddrInfo) error {
	if err := h.Connect(ctx, point); err != nil {
		return failf(exitNoAnswer, "cannot reach rendezvous point %s: %w", point.ID, dialCause(err))
	}
	return nil
}

// dialCause shortens a dial error to each address and its root cause. libp2p's own
// text has several lines.
func dialCause(err error) error {
	failed, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(failed.DialErrors) == 0 {
		return err
	}
	var causes []string
	for _, e := range failed.DialErrors {
		causes = append(causes, fmt.Sprintf("%s: %s", e.Address, rootCause(e.Cause)))
	}
	return errors.New(strings.Join(causes, "; "))
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
