//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/require"
)

func TestLayout(t *testing.T) {
	for name, test := range map[string]struct {
		options       layoutOptions
		points, nodes int
	}{
		"usual":   {layoutOptions{}, 3, 10},
		"open":    {layoutOptions{open: true}, 3, 13},
		"hostile": {layoutOptions{hostile: true}, 2, 10},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(test.options)
			require.Len(t, l.points, test.points)
			require.Len(t, l.nats, 3)
			require.Len(t, l.nodes, test.nodes)
			for _, n := range append(l.nats, nil) {
				behind := l.behind(n)
				if n == nil && !test.options.open {
					require.Empty(t, behind)
					continue
				}
				for _, speaks := range transports {
					require.NotEmpty(t, only(behind, func(h *node) bool { return h.transport == speaks }), "%v has nobody who speaks %s", n, speaks)
				}
			}
		})
	}
}

// TestDetectors checks which hosts have libp2p's black hole detector: half of those with QUIC
// only, among them the ones that are without a network for minutes, and all others.
func TestDetectors(t *testing.T) {
	without := make([]string, 0, 2)
	for _, n := range newLayout(layoutOptions{open: true}).nodes {
		if n.noDetector {
			without = append(without, n.name)
			require.Equal(t, overQUIC, n.transport, n.name)
		}
	}
	require.Equal(t, []string{"c2", "d2"}, without)
}

// TestAddresses checks that no two machines have the same address, that libp2p takes those
// of the open network for public ones, and that none of them is used on the Internet.
func TestAddresses(t *testing.T) {
	reserved := netip.MustParsePrefix("192.0.0.0/24")
	for _, o := range []layoutOptions{{}, {open: true}, {hostile: true}} {
		l := newLayout(o)
		seen := make(map[netip.Addr]bool)
		add := func(a netip.Addr) {
			require.False(t, seen[a], "%s twice", a)
			seen[a] = true
		}
		public := func(a netip.Addr) {
			add(a)
			require.True(t, reserved.Contains(a), a)
			require.False(t, emptyNetwork.Contains(a), a)
			require.True(t, manet.IsPublicAddr(ma.StringCast("/ip4/"+a.String())), a)
		}
		public(routerAddr)
		public(observerAddr)
		for _, p := range l.points {
			public(p.addr)
		}
		for _, n := range l.nats {
			public(n.external)
			add(n.gateway())
		}
		ports := make(map[int]bool)
		for _, n := range l.nodes {
			require.False(t, ports[n.port], "port %d twice", n.port)
			ports[n.port] = true
			for _, a := range []netip.Addr{n.addr, n.nextAddr} {
				if n.nat == nil {
					public(a)
					continue
				}
				add(a)
				require.True(t, n.nat.lan.Contains(a), a)
				require.True(t, manet.IsPrivateAddr(ma.StringCast("/ip4/"+a.String())), a)
			}
		}
	}
}

func TestPointAddrs(t *testing.T) {
	l := newLayout(layoutOptions{})
	for i, p := range l.points {
		p.id = []string{
			"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
			"12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3",
			"12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2",
		}[i]
	}
	infos, err := parsePoints(l.pointAddrs())
	require.NoError(t, err)
	require.Len(t, infos, len(l.points))
	for _, info := range infos {
		require.Len(t, info.Addrs, 2, "TCP and QUIC")
	}

	_, err = parsePoints([]string{"/ip4/192.0.0.141/tcp/4040"})
	require.ErrorContains(t, err, "192.0.0.141")
	_, err = parsePoints([]string{"192.0.0.141"})
	require.ErrorContains(t, err, "192.0.0.141")
}

func TestAnnouncedAddresses(t *testing.T) {
	l := newLayout(layoutOptions{open: true})
	for _, n := range l.nodes {
		switch {
		case n.nat == nil:
			require.Empty(t, n.announce())
		case n.transport == overBoth:
			require.Equal(t, []string{
				fmt.Sprintf("/ip4/%s/tcp/%d", n.nat.external, n.port),
				fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", n.nat.external, n.port),
			}, n.announce())
		default:
			require.Len(t, n.announce(), 1)
		}
	}
}

func TestNATForwardsToItsHosts(t *testing.T) {
	l := newLayout(layoutOptions{})
	rules := natRules(l.nats[1], l.behind(l.nats[1]))
	require.Contains(t, rules, "elements = { 4105 : 10.1.2.11, 4106 : 10.1.2.12, 4107 : 10.1.2.13 }")
	require.Contains(t, rules, "ip daddr "+l.nats[1].external.String()+" udp dport")
	for _, placeholder := range []string{"EXTERNAL", "LAN", "FORWARDS"} {
		require.NotContains(t, rules, placeholder)
	}
}
