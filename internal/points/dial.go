package points

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// openStream opens a stream to a point whose addresses the host knows, over a relay if
// need be. It dials at most once.
func openStream(ctx context.Context, c *Config, point peer.ID) (network.Stream, error) {
	ctx = network.WithAllowLimitedConn(ctx, c.Service)
	if c.Host.Network().Connectedness(point) == network.NotConnected {
		endDialBackoff(c, point)
	}
	st, err := c.Host.NewStream(ctx, point, c.Protocols...)
	if errors.Is(err, swarm.ErrDialRefusedBlackHole) {
		if err = dialRefused(ctx, c, point); err == nil {
			st, err = c.Host.NewStream(ctx, point, c.Protocols...)
		}
	}
	if err != nil {
		return nil, withRelays(err, c, point)
	}
	if err := st.Scope().SetService(c.Service); err != nil {
		_ = st.Reset()
		return nil, fmt.Errorf("attach stream to service: %w", err)
	}
	return st, nil
}

// maxRefusals bounds the dials in a row that the host's black hole detector refuses. The
// detector lets one in a hundred through.
const maxRefusals = 100

// dialRefused dials a point that the host has refused to dial. After minutes without a
// network, libp2p's black hole detector assumes that UDP is blocked. It then lets one dial in a
// hundred through, to find out whether it still is, and refuses the others before anything is
// sent. The backoff of the point limits how often this happens. The relays of the point are
// dialed first, because the detector has to let both dials through.
func dialRefused(ctx context.Context, c *Config, point peer.ID) error {
	var failed error
	for _, a := range c.Host.Peerstore().Addrs(point) {
		relay, ok := relayOf(a)
		if !ok || c.Host.Network().Connectedness(relay) == network.Connected {
			continue
		}
		i := slices.IndexFunc(a, func(part ma.Component) bool { return part.Code() == ma.P_P2P })
		c.Host.Peerstore().AddAddrs(relay, []ma.Multiaddr{a[:i]}, peerstore.TempAddrTTL)
		if err := dialUntilSent(ctx, c, relay); err != nil {
			failed = errors.Join(failed, fmt.Errorf("dial its relay: %w", err))
		}
	}
	if err := dialUntilSent(ctx, c, point); err != nil {
		return errors.Join(failed, err)
	}
	return nil
}

// dialUntilSent dials a peer until the host does not refuse the dial.
func dialUntilSent(ctx context.Context, c *Config, id peer.ID) (err error) {
	for range maxRefusals {
		_, err = c.Host.Network().DialPeer(ctx, id)
		if !errors.Is(err, swarm.ErrNoGoodAddresses) || !errors.Is(err, swarm.ErrDialRefusedBlackHole) {
			return err
		}
	}
	return err
}

// withRelays adds to the error of a dial the relays of the point that the host is not connected
// to. The error itself may say only that the time was over.
func withRelays(err error, c *Config, point peer.ID) error {
	for _, a := range c.Host.Peerstore().Addrs(point) {
		if relay, ok := relayOf(a); ok && c.Host.Network().Connectedness(relay) != network.Connected {
			err = fmt.Errorf("%w; its relay %s is not connected", err, relay)
		}
	}
	return err
}

// endDialBackoff ends the backoffs that the host itself keeps for addresses that did not
// answer, those of the point and of its relays. They grow to five minutes, which would keep
// the host from dialing a point that is back. The backoff of the point replaces them.
func endDialBackoff(c *Config, point peer.ID) {
	dialer, ok := c.Host.Network().(interface{ Backoff() *swarm.DialBackoff })
	if !ok {
		return
	}
	dialer.Backoff().Clear(point)
	for _, a := range c.Host.Peerstore().Addrs(point) {
		if relay, ok := relayOf(a); ok {
			dialer.Backoff().Clear(relay)
		}
	}
}

// relayOf returns the relay that an address goes through.
func relayOf(a ma.Multiaddr) (relay peer.ID, ok bool) {
	for i, c := range a {
		if c.Code() == ma.P_CIRCUIT && i > 0 {
			relay, err := peer.IDFromP2PAddr(a[:i])
			return relay, err == nil
		}
	}
	return "", false
}
