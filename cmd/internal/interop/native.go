package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// native is a peer of this library. It speaks one protocol to one point, and listens on TCP,
// and on WebSocket for pages.
type native struct {
	host     host.Host
	client   *rendezvous.Client
	point    peer.ID
	protocol protocol.ID
}

func newNative(point peer.AddrInfo, id protocol.ID, opts ...rendezvous.ClientOption) (*native, error) {
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		return nil, fmt.Errorf("start a host: %w", err)
	}
	opts = append(opts, rendezvous.WithPoints(point), rendezvous.WithProtocol(id))
	return &native{host: h, client: rendezvous.NewClient(h, opts...), point: point.ID, protocol: id}, nil
}

// keepRegistered registers until ctx ends, and returns once it is registered.
func (n *native) keepRegistered(ctx context.Context, namespaces ...string) error {
	states, err := n.client.KeepRegistered(ctx, namespaces...)
	if err != nil {
		return fmt.Errorf("register over %s: %w", n.protocol, err)
	}
	timeout := time.After(20 * time.Second)
	for {
		select {
		case state, ok := <-states:
			if ok && state.Findable() {
				return nil
			}
		case <-timeout:
			return fmt.Errorf("not registered over %s after 20 s", n.protocol)
		case <-ctx.Done():
			return fmt.Errorf("register over %s: %w", n.protocol, context.Cause(ctx))
		}
	}
}

// find returns what the point answers of a peer in a namespace.
func (n *native) find(ctx context.Context, ns, id string) (rendezvous.Registration, error) {
	registrations, err := n.client.Discover(ctx, n.point, ns, 0)
	if err != nil {
		return rendezvous.Registration{}, err
	}
	for _, r := range registrations {
		if r.Peer.ID.String() == id {
			return r, nil
		}
	}
	return rendezvous.Registration{}, fmt.Errorf("%s is not among the %d peers in %q over %s", id, len(registrations), ns, n.protocol)
}

// absent returns an error if the point answers that a peer is in a namespace.
func (n *native) absent(ctx context.Context, ns, id string) error {
	registrations, err := n.client.Discover(ctx, n.point, ns, 0)
	if err != nil {
		return err
	}
	for _, r := range registrations {
		if r.Peer.ID.String() == id {
			return fmt.Errorf("%s is still found in %q over %s", id, ns, n.protocol)
		}
	}
	return nil
}

// dial connects to a peer that find returned.
func (n *native) dial(ctx context.Context, info peer.AddrInfo) error {
	if err := n.host.Connect(ctx, info); err != nil {
		return fmt.Errorf("connect to the client: %w", err)
	}
	return nil
}

func (n *native) close() error { return n.host.Close() }

// parseAddrs returns the multiaddrs among texts.
func parseAddrs(texts []string) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, text := range texts {
		if a, err := ma.NewMultiaddr(text); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// sameAddrs reports whether a client's addresses, which end with its peer ID, are those of
// its registration.
func sameAddrs(texts []string, registered []ma.Multiaddr) bool {
	var want []string
	for _, a := range parseAddrs(texts) {
		transport, _ := peer.SplitAddr(a)
		want = append(want, transport.String())
	}
	var got []string
	for _, a := range registered {
		got = append(got, a.String())
	}
	slices.Sort(want)
	slices.Sort(got)
	return slices.Equal(want, got)
}
