package points

import (
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

func TestRelayOf(t *testing.T) {
	id := randomID(t)
	relay, ok := relayOf(ma.StringCast("/ip4/1.2.3.4/tcp/1/p2p/" + id.String() + "/p2p-circuit"))
	require.True(t, ok)
	require.Equal(t, id, relay)
	for _, a := range []string{"/ip4/1.2.3.4/tcp/1", "/p2p-circuit", "/ip4/1.2.3.4/tcp/1/p2p-circuit"} {
		_, ok := relayOf(ma.StringCast(a))
		require.False(t, ok, a)
	}
}

// notTo is a dialer that has a transport for all addresses but one.
type notTo struct {
	dialer
	addr ma.Multiaddr
}

func (d notTo) TransportForDialing(a ma.Multiaddr) transport.Transport {
	if a.Equal(d.addr) {
		return nil
	}
	return new(tcp.TcpTransport)
}

func TestDialable(t *testing.T) {
	relay := "/p2p/" + randomID(t).String() + "/p2p-circuit"
	const tcp4, tcp6, named, webSocket, quic = "/ip4/1.2.3.4/tcp/1", "/ip6/2001::1/tcp/1", "/dns4/a.example/tcp/1", "/ip4/1.2.3.4/tcp/2/ws", "/ip4/1.2.3.4/udp/1/quic-v1"
	var all []ma.Multiaddr
	for _, a := range []string{quic, tcp4, tcp4 + relay, tcp6, named, webSocket, quic + relay, tcp4 + "/p2p-circuit", quic + "/webtransport"} {
		all = append(all, ma.StringCast(a))
	}
	direct, others := dialable(notTo{addr: ma.StringCast(quic + "/webtransport")}, all)
	require.Equal(t, []string{tcp4, tcp6, named, webSocket}, textOf(direct))
	require.Equal(t, []string{quic, tcp4 + relay, quic + relay, tcp4 + "/p2p-circuit"}, textOf(others))
}

func textOf(addrs []ma.Multiaddr) []string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}

func TestSent(t *testing.T) {
	failed := func(causes ...error) error {
		err := &swarm.DialError{Cause: swarm.ErrAllDialsFailed}
		for _, cause := range causes {
			err.DialErrors = append(err.DialErrors, swarm.TransportError{Cause: cause})
		}
		return err
	}
	require.True(t, sent(failed(swarm.ErrDialRefusedBlackHole, errors.New("connection refused"))))
	require.False(t, sent(failed(swarm.ErrDialRefusedBlackHole, swarm.ErrDialBackoff)))
	require.False(t, sent(failed(swarm.ErrDialRefusedBlackHole, swarm.ErrNoTransport)))
	require.False(t, sent(failed()))
}
