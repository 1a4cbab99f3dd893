package main

// libp2p hosts: a point's, and those of the commands that ask points.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/urfave/cli/v3"
)

// userAgent is what other peers are told.
func userAgent() libp2p.Option { return libp2p.UserAgent("rendezvous/" + version()) }

// listen has h listen on every address. libp2p itself is content with one of them.
func listen(h host.Host, addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		err := tryPort(a)
		if err == nil {
			err = h.Network().Listen(a)
		}
		switch {
		case isErrno(err, syscall.EADDRINUSE):
			return failf(exitCannotStart, "listen on %s: the port is taken by another process; --listen chooses another", a)
		case isErrno(err, syscall.EACCES):
			return failf(exitCannotStart, "listen on %s: not allowed, ports below 1024 need a privilege", a)
		case err != nil:
			return failf(exitCannotStart, "listen on %s: %w", a, err)
		}
	}
	return nil
}

// hasIPv6 reports whether the machine has IPv6, as far as one can tell.
func hasIPv6() bool {
	l, err := manet.Listen(ma.StringCast("/ip6/::/tcp/0"))
	if err == nil {
		_ = l.Close()
	}
	return !isErrno(err, syscall.EAFNOSUPPORT) && !isErrno(err, syscall.EADDRNOTAVAIL)
}

func withoutIPv6(addrs []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool { return len(a) > 0 && a[0].Code() == ma.P_IP6 })
}

// tryPort listens on a TCP address for a moment. libp2p shares ports with whoever does
// the same, and so with another point, and connections then go to either.
func tryPort(a ma.Multiaddr) error {
	if len(a) < 2 || a[1].Code() != ma.P_TCP {
		return nil
	}
	l, err := manet.Listen(a[:2])
	if err != nil {
		return fmt.Errorf("try the port: %w", err)
	}
	return l.Close()
}

// isErrno is errors.Is, for errors that libp2p keeps only the text of.
func isErrno(err error, errno syscall.Errno) bool {
	return err != nil && (errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()))
}

// parseAddrs reads the multiaddrs of a flag.
func parseAddrs(flag string, values []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, 0, len(values))
	for _, v := range values {
		a, err := ma.NewMultiaddr(v)
		if err != nil {
			return nil, usagef("--%s %q is no multiaddr such as /ip4/0.0.0.0/tcp/4040: %w", flag, v, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// pointFlag names the points that a command asks.
func pointFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "point",
		Usage: "ask the rendezvous point at `MULTIADDR`, such as /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…; repeat for more",
	}
}

// parsePoints reads --point, in which several addresses may be of one point.
func parsePoints(cmd *cli.Command) ([]peer.AddrInfo, error) {
	values := cmd.StringSlice("point")
	if len(values) == 0 {
		return nil, usagef("a point to ask is needed: --point MULTIADDR, or RENDEZVOUS_POINT")
	}
	return parsePointAddrs(values)
}

func parsePointAddrs(values []string) ([]peer.AddrInfo, error) {
	addrs := make([]ma.Multiaddr, 0, len(values))
	for _, v := range values {
		a, err := ma.NewMultiaddr(v)
		if err != nil {
			return nil, usagef("--point %q is no multiaddr: %w", v, err)
		}
		if _, err := peer.AddrInfoFromP2pAddr(a); err != nil {
			return nil, usagef("--point %q does not end in /p2p/ and the point's peer ID", v)
		}
		addrs = append(addrs, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, usagef("--point: %w", err)
	}
	return infos, nil
}

// pointsAndHost returns the points that were named and a host to ask them with, which
// is for the caller to close.
func pointsAndHost(cmd *cli.Command) ([]peer.AddrInfo, host.Host, error) {
	points, err := parsePoints(cmd)
	if err != nil {
		return nil, nil, err
	}
	h, err := newClientHost()
	return points, h, err
}

// newClientHost returns a host that asks points and is asked nothing.
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

// dial connects to a point, which a request would do as well, so that a point
// that is not there is told from one that does not answer.
func dial(ctx context.Context, h host.Host, point peer.AddrInfo) error {
	if err := h.Connect(ctx, point); err != nil {
		return failf(exitNoAnswer, "rendezvous point %s is not reached: %w", point.ID, dialCause(err))
	}
	return nil
}

// dialCause is an error of dialling, in a line: libp2p's lists every address under
// the same long heading.
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

// rootCause is the innermost error: "connection refused" of all that it is wrapped in.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
