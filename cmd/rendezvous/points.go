package main

// The flag --point, which names the points that a command sends its requests to.

import (
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"
)

func pointFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "point",
		Usage: "use the rendezvous point at `MULTIADDR`, such as /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…; repeatable",
	}
}

// parsePoints parses --point. Several addresses may belong to the same point. It also
// returns the key of the points' private network, if they are in one.
func parsePoints(cmd *cli.Command) ([]peer.AddrInfo, pnet.PSK, error) {
	values := cmd.StringSlice("point")
	if len(values) == 0 {
		return nil, nil, usagef("no rendezvous point given: use --point MULTIADDR, or RENDEZVOUS_POINT")
	}
	psk, err := loadPSK(cmd)
	if err != nil {
		return nil, nil, err
	}
	points, err := parsePointAddrs(values)
	for _, p := range points {
		if psk != nil && len(withoutUDP(slices.Clone(p.Addrs))) == 0 {
			return nil, nil, checkPrivate("point", psk, p.Addrs)
		}
	}
	return points, psk, err
}

func parsePointAddrs(values []string) ([]peer.AddrInfo, error) {
	addrs := make([]ma.Multiaddr, 0, len(values))
	for _, v := range values {
		a, err := ma.NewMultiaddr(v)
		if err != nil {
			return nil, usagef("--point %q is not a multiaddr: %w", v, err)
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

// pointsAndHost returns the points of --point and a host to query them with. The
// caller closes the host.
func pointsAndHost(cmd *cli.Command) ([]peer.AddrInfo, *clientHost, error) {
	points, psk, err := parsePoints(cmd)
	if err != nil {
		return nil, nil, err
	}
	h, err := newClientHost(libp2p.PrivateNetwork(psk))
	return points, h, err
}
