package points

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKernelWatch tells other addresses from the same ones in another order.
func TestKernelWatch(t *testing.T) {
	a, b := &net.IPAddr{IP: net.IPv4(10, 0, 0, 1)}, &net.IPAddr{IP: net.IPv4(10, 0, 0, 2)}
	var failure error
	now := []net.Addr{a, b}
	w := newKernelWatch(func() ([]net.Addr, error) { return now, failure })
	require.False(t, w.moved())
	now = []net.Addr{b, a}
	require.False(t, w.moved())
	now, failure = nil, errors.New("interrupted")
	require.False(t, w.moved())
	now, failure = []net.Addr{b}, nil
	require.True(t, w.moved())
	require.False(t, w.moved())
}
