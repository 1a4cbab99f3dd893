package ifaddrs

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGet returns what the kernel says.
func TestGet(t *testing.T) {
	want, err := net.InterfaceAddrs()
	require.NoError(t, err)
	got, err := Get()
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestCache: the kernel is asked once for many calls, and again when the answer is old.
func TestCache(t *testing.T) {
	asked := 0
	answer, failure := []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, 1)}}, error(nil)
	c := cache{ask: func() ([]net.Addr, error) {
		asked++
		return answer, failure
	}}
	get := func(t *testing.T, times int) {
		t.Helper()
		for range 10 {
			got, err := c.get()
			require.Equal(t, answer, got)
			require.Equal(t, failure, err)
			require.Equal(t, times, asked)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		get(t, 1)
		answer = nil
		time.Sleep(maxAge)
		get(t, 2)
		time.Sleep(maxAge)
		failure = errors.New("no")
		get(t, 3)
		time.Sleep(time.Hour)
		get(t, 4)
	})
	failure = nil
	get(t, 5)                                          // in real time, years later
	synctest.Test(t, func(t *testing.T) { get(t, 6) }) // years earlier
}
