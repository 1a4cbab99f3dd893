// Package ifaddrs asks the kernel for the IP addresses of the machine's interfaces. All clients
// of a process share the answers: one takes up to 0.1 ms, and each client looks once a second
// and with each refresh.
package ifaddrs

import (
	"net"
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
// second. The caller must not modify them. It is safe for concurrent use.
func Get() ([]net.Addr, error) { return kernel.get() }

func (c *cache) get() ([]net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := time.Since(c.asked); c.asked.IsZero() || age < 0 || age >= maxAge {
		c.addrs, c.err = c.ask()
		c.asked = time.Now()
	}
	return c.addrs, c.err
}
