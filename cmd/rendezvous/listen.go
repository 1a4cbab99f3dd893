package main

// Listening on the addresses that the user chose.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/urfave/cli/v3"
)

// parseListen parses --listen. In a private network, it leaves out those of the default
// addresses that such a network cannot use.
func parseListen(cmd *cli.Command, psk pnet.PSK) ([]ma.Multiaddr, error) {
	addrs, err := parseAddrs("listen", cmd.StringSlice("listen"))
	if err != nil {
		return nil, err
	}
	if psk != nil && !cmd.IsSet("listen") {
		addrs = withoutUDP(addrs)
	}
	return addrs, checkPrivate("listen", psk, addrs)
}

// parseAddrs parses the multiaddrs of a flag.
func parseAddrs(flag string, values []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, 0, len(values))
	for _, v := range values {
		a, err := ma.NewMultiaddr(v)
		if err != nil {
			return nil, usagef("--%s %q is not a multiaddr such as /ip4/0.0.0.0/tcp/4040: %w", flag, v, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// listen makes h listen on every address, or fails. libp2p itself succeeds if it can
// listen on one of them.
func listen(h host.Host, addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		err := probeTCPPort(a)
		if err == nil {
			err = h.Network().Listen(a)
		}
		switch {
		case isErrno(err, syscall.EADDRINUSE):
			return failf(exitCannotStart, "listen on %s: the port is in use by another process; choose another with --listen", a)
		case isErrno(err, syscall.EACCES):
			return failf(exitCannotStart, "listen on %s: permission denied; ports below 1024 need a privilege", a)
		case err != nil:
			return failf(exitCannotStart, "listen on %s: %w", a, err)
		}
	}
	return nil
}

// probeTCPPort checks that no other process listens on the port of a TCP address.
// libp2p sets SO_REUSEPORT, so two points could listen on the same port, and each
// would get some of the connections.
func probeTCPPort(a ma.Multiaddr) error {
	if len(a) < 2 || a[1].Code() != ma.P_TCP {
		return nil
	}
	l, err := manet.Listen(a[:2])
	if err != nil {
		return fmt.Errorf("probe the port: %w", err)
	}
	return l.Close()
}

// isErrno reports whether err is or quotes errno: libp2p keeps only the text of some
// errors.
func isErrno(err error, errno syscall.Errno) bool {
	return err != nil && (errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()))
}

// hasIPv6 reports whether the machine supports IPv6.
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
