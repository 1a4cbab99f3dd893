package main

// The flag --point, which names the points that a command sends its requests to.

import (
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func pointFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "point",
		Usage: "use the rendezvous point at `MULTIADDR`, such as /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…; repeatable",
	}
}

// target is where and how a command sends its requests.
type target struct {
	points    []peer.AddrInfo // several addresses may belong to the same one
	psk       pnet.PSK        // of the points' private network, if they are in one
	protocols []protocol.ID
}

// parseTarget parses --point, --psk and --protocol.
func parseTarget(cmd *cli.Command) (t target, err error) {
	values := cmd.StringSlice("point")
	if len(values) == 0 {
		return t, usagef("no rendezvous point given: use --point MULTIADDR, or RENDEZVOUS_POINT")
	}
	if t.psk, err = loadPSK(cmd); err != nil {
		return t, err
	}
	if t.protocols, err = parseProtocols(cmd); err != nil {
		return t, err
	}
	t.points, err = parsePointAddrs(values)
	for _, p := range t.points {
		if t.psk != nil && len(withoutUDP(slices.Clone(p.Addrs))) == 0 {
			return t, checkPrivate("point", t.psk, p.Addrs)
		}
	}
	return t, err
}

// client returns a client of the points.
func (t *target) client(h host.Host, opts ...rendezvous.ClientOption) *rendezvous.Client {
	return rendezvous.NewClient(h, append([]rendezvous.ClientOption{
		rendezvous.WithPoints(t.points...),
		rendezvous.WithProtocol(t.protocols...),
	}, opts...)...)
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

// targetAndHost returns where to send requests and a host to send them from. The caller
// closes the host.
func targetAndHost(cmd *cli.Command) (target, *clientHost, error) {
	t, err := parseTarget(cmd)
	if err != nil {
		return t, nil, err
	}
	h, err := newClientHost(libp2p.PrivateNetwork(t.psk))
	return t, h, err
}
