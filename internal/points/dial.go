package points

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
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
	if err != nil {
		return nil, err
	}
	if err := st.Scope().SetService(c.Service); err != nil {
		_ = st.Reset()
		return nil, fmt.Errorf("attach stream to service: %w", err)
	}
	return st, nil
}

// endDialBackoff ends the backoffs that the host itself keeps for addresses that did not
// answer, those of the point and of its relays. They grow to five minutes, which would keep
// the host from dialing a point that is back. The backoff of the point is in their place.
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

// defaultRelayData is how many bytes a relay carries for one connection unless it says
// otherwise.
const defaultRelayData = 128 << 10

// answerBudget returns how long an answer over a relayed connection should be, given what
// the relay says of its limit: half of that, because the connection also has to carry
// handshakes, and other answers.
func answerBudget(limit any) int {
	data, ok := limit.(uint64)
	if !ok || data == 0 || data > defaultRelayData*64 {
		data = defaultRelayData
	}
	return int(data / 2)
}
