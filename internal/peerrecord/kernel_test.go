package peerrecord

import (
	"errors"
	"net"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// TestKernelCorrects the addresses of a machine that has moved to another network, and
// leaves those alone that the machine itself never had.
func TestKernelCorrects(t *testing.T) {
	var failure error
	has := []string{"127.0.0.1/8", "10.0.0.5/24", "fe80::1/64"}
	k := newKernel(func() (all []net.Addr, err error) {
		for _, cidr := range has {
			ip, n, err := net.ParseCIDR(cidr)
			require.NoError(t, err)
			all = append(all, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return all, failure
	})
	addrs := []ma.Multiaddr{
		ma.StringCast("/ip4/10.0.0.5/udp/4001/quic-v1"),
		ma.StringCast("/ip4/1.2.3.4/tcp/4001"),
		ma.StringCast("/dns/example.org/tcp/4001"),
	}
	require.False(t, k.gone(net.ParseIP("10.0.0.5")))
	same, changed := k.correct(addrs)
	require.False(t, changed)
	require.Equal(t, addrs, same)

	has = []string{"127.0.0.1/8", "192.168.7.5/24", "fe80::1/64", "2001:db8::5/64"}
	failure = errors.New("interrupted")
	_, changed = k.correct(addrs)
	require.False(t, changed)
	failure = nil
	moved, changed := k.correct(addrs)
	require.True(t, changed)
	require.Equal(t, []ma.Multiaddr{ma.StringCast("/ip4/192.168.7.5/udp/4001/quic-v1"), addrs[1], addrs[2]}, moved)

	has = has[:1]
	none, changed := k.correct(addrs[:1])
	require.True(t, changed)
	require.Empty(t, none)
}
