package main

// Many peers behind one address.

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// connFrom is a connection from an address.
type connFrom struct {
	network.Conn
	remote ma.Multiaddr
}

func (c connFrom) RemoteMultiaddr() ma.Multiaddr { return c.remote }

func connsFrom(addrs ...string) []network.Conn {
	var conns []network.Conn
	for _, a := range addrs {
		conns = append(conns, connFrom{remote: ma.StringCast(a)})
	}
	return conns
}

func TestCountCrowd(t *testing.T) {
	require.Equal(t, crowd{}, countCrowd(nil))
	conns := connsFrom("/ip4/192.0.2.2/tcp/1", "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/udp/2/quic-v1", "/ip4/192.0.2.1/tcp/2/ws",
		"/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::ffff/tcp/1", "/ip6/2001:db8:0:0:1::1/tcp/1", "/ip6/2001:db8:0:1::1/tcp/1")
	require.Equal(t, crowd{8, 4, 3, netip.MustParsePrefix("2001:db8::/64")}, countCrowd(conns))
	require.Equal(t, netip.MustParsePrefix("192.0.2.1/32"), countCrowd(conns[:4]).Address, "the lower one of two")

	relay := "/ip4/192.0.2.9/tcp/1/p2p/" + somePeer + "/p2p-circuit"
	require.Equal(t, crowd{2, 1, 2, netip.MustParsePrefix("192.0.2.9/32")}, countCrowd(connsFrom(relay, relay)), "relayed peers are at their relay")

	require.Equal(t, "0 connections.", crowd{}.String())
	require.Equal(t, "1 connection from 192.0.2.1.", countCrowd(conns[1:2]).String())
	require.Equal(t, "8 connections from 4 addresses, 3 of them from 2001:db8::/64.", countCrowd(conns).String())
	require.False(t, crowd{Connections: 15, Largest: 15}.Notable())
	require.False(t, crowd{Connections: 100, Largest: 49}.Notable())
	require.True(t, crowd{Connections: 100, Largest: 50}.Notable())
}

// TestCrowd: a crowd behind one address is on the status page and in the metrics.
func TestCrowd(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	_, page, _ := httpGet(t, point.url)
	require.NotContains(t, page, "max-connections-per-ip")
	for range 16 {
		registerPeer(t, point.addrs[0], "news")
	}
	waitFor(t, "the page to say so", func() bool {
		_, page, _ = httpGet(t, point.url)
		_, metrics, _ := httpGet(t, point.url+"metrics")
		return containsAll(page, "16 connections from 127.0.0.1.", "<code>--max-connections-per-ip</code>") &&
			containsAll(metrics, "libp2p_rendezvous_largest_address_connections 16\n", "libp2p_rendezvous_connected_addresses 1\n")
	})
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
