package points

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// tcpTime returns how long a dial of a point over TCP may take before its other addresses are
// dialed, after so many failures in a row. After an even number, TCP gets four of the five seconds,
// because a slow network needs seconds for a handshake. After an odd number it gets one second: both
// then fit into the time that [Set.Ask] gives a point that failed last time.
func tcpTime(failures int) time.Duration {
	const short = time.Second
	if failures%2 == 0 {
		return requestTimeout - short
	}
	return short
}

// openStream opens a stream to a point whose addresses the host knows, over a relay if
// need be. It dials each address once at most, unless a new connection breaks at once. If the point
// has failed, so many times in a row, its TCP addresses are dialed before the others.
func openStream(ctx context.Context, c *Config, point peer.ID, failures int) (network.Stream, error) {
	ctx = network.WithAllowLimitedConn(ctx, c.Service)
	var overTCP error
	if c.Host.Network().Connectedness(point) == network.NotConnected {
		endDialBackoff(c, point)
		if failures > 0 {
			overTCP = dialTCP(ctx, c, point, tcpTime(failures))
		}
	}
	st, err := c.Host.NewStream(ctx, point, c.Protocols...)
	if errors.Is(err, swarm.ErrDialRefusedBlackHole) {
		if err = dialRefused(ctx, c, point); err == nil {
			st, err = c.Host.NewStream(ctx, point, c.Protocols...)
		}
	}
	if err != nil {
		return nil, withRelays(withTCP(err, overTCP), c, point)
	}
	if err := st.Scope().SetService(c.Service); err != nil {
		_ = st.Reset()
		return nil, fmt.Errorf("attach stream to service: %w", err)
	}
	return st, nil
}

// dialer is what the network of a libp2p host offers beyond [network.Network].
type dialer interface {
	Backoff() *swarm.DialBackoff
	TransportForDialing(ma.Multiaddr) transport.Transport
}

// dialTCP dials a point over TCP only, if the host can also dial it in other ways. If that fails or
// takes longer than timeout, the next dial leaves out the TCP addresses. libp2p itself begins with
// QUIC, and its black hole detector counts each dial over UDP that fails. Once the detector refuses
// such dials, libp2p dials over TCP only. If TCP does not answer, that takes all of the request's time,
// and a point that is back over QUIC is not reached.
func dialTCP(ctx context.Context, c *Config, point peer.ID, timeout time.Duration) error {
	d, ok := c.Host.Network().(dialer)
	if !ok {
		return nil
	}
	tcp, others := dialable(d, c.Host.Peerstore().Addrs(point))
	if len(tcp) == 0 || len(others) == 0 {
		return nil
	}
	leaveOut(d, point, others)
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := dialUntilSent(short, c, point)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		d.Backoff().Clear(point) // others may still dial the point
		return err
	}
	tcp, _ = dialable(d, c.Host.Peerstore().Addrs(point)) // a name may have been resolved
	leaveOut(d, point, tcp)
	return err
}

// dialable returns the addresses that the host has a transport for: those of TCP, and others.
// An address over a relay is not one of TCP, because a direct one is better.
func dialable(d dialer, addrs []ma.Multiaddr) (tcp, others []ma.Multiaddr) {
	for _, a := range addrs {
		switch {
		case d.TransportForDialing(a) == nil:
		case hasProtocol(a, ma.P_TCP) && !hasProtocol(a, ma.P_CIRCUIT):
			tcp = append(tcp, a)
		default:
			others = append(others, a)
		}
	}
	return tcp, others
}

func hasProtocol(a ma.Multiaddr, code int) bool {
	return slices.ContainsFunc(a, func(part ma.Component) bool { return part.Code() == code })
}

// leaveOut keeps these addresses of a point, and no others, from being dialed for five seconds. It
// uses the host's own backoff, which ends when the host connects to the point.
func leaveOut(d dialer, point peer.ID, addrs []ma.Multiaddr) {
	d.Backoff().Clear(point)
	for _, a := range addrs {
		d.Backoff().AddBackoff(point, a)
	}
}

// withTCP adds the error of the dial over TCP, if there is one, to that of the dial after it.
func withTCP(err, overTCP error) error {
	if overTCP == nil {
		return err
	}
	for _, e := range []error{err, overTCP} {
		if dial := new(swarm.DialError); errors.As(e, &dial) {
			dial.DialErrors = slices.DeleteFunc(dial.DialErrors, func(e swarm.TransportError) bool {
				return errors.Is(e.Cause, swarm.ErrDialBackoff) // the other dial had this address
			})
		}
	}
	return fmt.Errorf("%w; over TCP before: %w", err, overTCP)
}

// maxRefusals bounds the dials in a row that the host's black hole detector refuses. The
// detector lets one in a hundred through, which may be that of another point: this is enough for
// ten points at a time. If an address has a name, each dial looks that up, and maxLookups bounds
// them.
const (
	maxRefusals = 1000
	maxLookups  = 100
)

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
	limit := maxRefusals
	if slices.ContainsFunc(c.Host.Peerstore().Addrs(id), madns.Matches) {
		limit = maxLookups
	}
	for range limit {
		_, err = c.Host.Network().DialPeer(ctx, id)
		if !errors.Is(err, swarm.ErrDialRefusedBlackHole) || sent(err) {
			return err
		}
	}
	return err
}

// sent reports whether a dial that failed has dialed any address.
func sent(err error) bool {
	var dial *swarm.DialError
	return errors.As(err, &dial) && slices.ContainsFunc(dial.DialErrors, func(e swarm.TransportError) bool {
		return !slices.ContainsFunc(notSent, func(reason error) bool { return errors.Is(e.Cause, reason) })
	})
}

// notSent are the reasons for which libp2p does not dial an address.
var notSent = []error{
	swarm.ErrDialRefusedBlackHole, swarm.ErrDialBackoff, swarm.ErrNoTransport,
	swarm.ErrDialToSelf, swarm.ErrGaterDisallowedConnection,
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
	d, ok := c.Host.Network().(dialer)
	if !ok {
		return
	}
	d.Backoff().Clear(point)
	for _, a := range c.Host.Peerstore().Addrs(point) {
		if relay, ok := relayOf(a); ok {
			d.Backoff().Clear(relay)
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
