// Package ifaddrs asks the kernel for the IP addresses of the machine's interfaces. All clients
// of a process share the answers: one takes up to 0.1 ms, and each client looks once a second
// and with each refresh.
package ifaddrs

import (
	"net"
	"slices"
	"sync"
	"time"
)

// maxAge is for how long an answer of the kernel is used.
const maxAge = 500 * time.Millisecond

// cache is the last answer of the kernel. In a test in virtual time its time may be in the
// future.
type cache struct {
	ask func() ([]net.Addr, error)

	mu    sync.Mutex
	asked time.Time
	addrs []net.Addr
	err   error
}

var kernel = cache{ask: net.InterfaceAddrs}

// Get returns the addresses that [net.InterfaceAddrs] has returned within the last half a
// second: the same slice for as long as they do not change. The caller must not modify it. An error
// is kept as long. Get is safe for concurrent use.
func Get() ([]net.Addr, error) { return kernel.get() }

func (c *cache) get() ([]net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := time.Since(c.asked); c.asked.IsZero() || age < 0 || age >= maxAge {
		c.look()
	}
	return c.addrs, c.err
}

// look asks the kernel. mu is held.
func (c *cache) look() {
	addrs, err := c.ask()
	if !slices.EqualFunc(addrs, c.addrs, func(a, b net.Addr) bool { return a.String() == b.String() }) {
		c.addrs = addrs
	}
	c.err, c.asked = err, time.Now()
}

// Same reports whether a and b are the same answer of [Get].
func Same(a, b []net.Addr) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
