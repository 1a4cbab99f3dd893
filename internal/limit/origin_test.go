package limit

import (
	"net/netip"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

const throughRelay = "/p2p/12D3KooWCaucoapNCiqBXR3eaA4bFpFeGFJoQ5LobQ1gpV2jSqJx/p2p-circuit"

func originOf(addr string) Origin { return OriginOf(ma.StringCast(addr)) }

func TestOriginOf(t *testing.T) {
	others := []Origin{originOf("/ip4/192.0.2.3/tcp/1"), originOf("/ip6/2001:db8:0:2::1/tcp/1")}
	for _, same := range [][]string{
		{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/2/quic-v1", "/ip6/::ffff:192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/4001" + throughRelay},
		{"/ip4/192.0.2.2/tcp/1"},
		{"/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::ffff:ffff:ffff:ffff/udp/2/quic-v1", "/ip6zone/eth0/ip6/2001:db8::2/tcp/1"},
		{"/ip6/2001:db8:0:1::1/tcp/1"},
		{"/ip4/127.0.0.1/tcp/1" + throughRelay}, // the relay is here, but its peers are not
	} {
		want := originOf(same[0])
		require.False(t, want.exempt())
		for _, addr := range same {
			require.Equal(t, want, originOf(addr), addr)
		}
		require.NotContains(t, others, want)
		others = append(others, want)
	}
	for _, addr := range []string{
		"/ip4/127.0.0.1/tcp/1", "/ip4/127.9.9.9/udp/1/quic-v1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1",
		"/memory/7", "/dns4/localhost/tcp/1", "/unix/tmp", "/p2p-circuit",
	} {
		require.Equal(t, Origin{}, originOf(addr), addr)
	}
	require.Equal(t, Origin{}, OriginOf(nil))
}

// ipOf returns the IP address at the beginning of an address, by way of its text.
func ipOf(addr ma.Multiaddr) (ip netip.Addr, ok bool) {
	parts := strings.Split(addr.String(), "/")
	for i := 1; i+1 < len(parts); i += 2 {
		switch parts[i] {
		case "ip6zone":
			continue
		case "ip4", "ip6":
			ip, err := netip.ParseAddr(parts[i+1])
			return ip.Unmap(), err == nil
		default:
			return netip.Addr{}, false
		}
	}
	return netip.Addr{}, false
}

// FuzzOriginOf checks for any address that its origin is the network of its IP address,
// and that no other addresses are exempt than OriginOf says.
func FuzzOriginOf(f *testing.F) {
	for _, addr := range []string{
		"/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/udp/2/quic-v1", "/ip6/::ffff:192.0.2.1/tcp/1", "/ip6zone/eth0/ip6/fe80::1/tcp/1",
		"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1" + throughRelay, "/ip6/::/tcp/0", "/memory/7", "/dns4/example.org/tcp/443/wss", "/p2p-circuit",
	} {
		f.Add(ma.StringCast(addr).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			return
		}
		origin := OriginOf(addr)
		ip, isIP := ipOf(addr)
		if !isIP || ip.IsLoopback() && !isRelayed(addr) {
			require.True(t, origin.exempt())
			return
		}
		require.True(t, origin.prefix.Contains(ip))
		require.Equal(t, origin.prefix.Masked(), origin.prefix)
		if origin.prefix.Addr().Is4() {
			require.Equal(t, 32, origin.prefix.Bits())
		} else {
			require.Equal(t, 64, origin.prefix.Bits())
			require.False(t, origin.prefix.Addr().Is4In6())
		}
		require.Equal(t, origin, OriginOf(addr.Encapsulate(ma.StringCast("/tcp/9"))), "the port does not matter")
	})
}
