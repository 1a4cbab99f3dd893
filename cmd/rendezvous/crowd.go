package main

// How many connections come from one address. Limits by address treat all peers behind a
// proxy, a relay or the NAT of an office as one, so an operator has to know about such an
// address. The address itself is not a label of a metric, because peers choose it.

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/prometheus/client_golang/prometheus"
)

// crowd says how the connections of a point are spread over addresses, which are IPv4
// addresses or IPv6 /64, as for the limits by address.
type crowd struct {
	Connections int
	Addresses   int
	Largest     int          // connections from the address with the most
	Address     netip.Prefix // that address; invalid if there is none
}

// Notable reports whether most of many connections come from one address.
func (c crowd) Notable() bool { return c.Largest >= 16 && 2*c.Largest >= c.Connections }

// String describes it for the status page.
func (c crowd) String() string {
	if c.Addresses == 0 {
		return plural(c.Connections, "connection", "connections") + "."
	}
	address := c.Address.String()
	if c.Address.IsSingleIP() {
		address = c.Address.Addr().String()
	}
	text := plural(c.Connections, "connection", "connections") + " from "
	if c.Addresses == 1 {
		return text + address + "."
	}
	return text + fmt.Sprintf("%d addresses, %d of them from %s.", c.Addresses, c.Largest, address)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// countCrowd counts connections by address. Of addresses with the same number it takes the
// lower one, so that the page does not alternate.
func countCrowd(conns []network.Conn) crowd {
	counts := make(map[netip.Prefix]int)
	for _, c := range conns {
		ip, ok := ipOf(c.RemoteMultiaddr())
		if !ok {
			continue
		}
		bits := 64
		if ip.Is4() {
			bits = 32
		}
		counts[netip.PrefixFrom(ip, bits).Masked()]++
	}
	crowd := crowd{Connections: len(conns), Addresses: len(counts)}
	for address, n := range counts {
		if n > crowd.Largest || n == crowd.Largest && address.Addr().Less(crowd.Address.Addr()) {
			crowd.Largest, crowd.Address = n, address
		}
	}
	return crowd
}

// crowdEvery is how old a count may be. Anyone who can open the status page can reload it
// at any rate.
const crowdEvery = 2 * time.Second

// crowds counts the connections of a network. It is a [prometheus.Collector].
type crowds struct {
	network network.Network

	mu      sync.Mutex
	counted time.Time
	last    crowd
}

// get returns a recent count.
func (c *crowds) get() crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.counted) >= crowdEvery {
		c.counted, c.last = now, countCrowd(c.network.Conns())
	}
	return c.last
}

var (
	addressesDesc = prometheus.NewDesc("libp2p_rendezvous_connected_addresses",
		"Addresses that connections come from: IPv4 addresses and IPv6 /64.", nil, nil)
	largestDesc = prometheus.NewDesc("libp2p_rendezvous_largest_address_connections",
		"Connections from the address that has the most.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *crowds) Describe(out chan<- *prometheus.Desc) {
	out <- addressesDesc
	out <- largestDesc
}

// Collect implements [prometheus.Collector].
func (c *crowds) Collect(out chan<- prometheus.Metric) {
	crowd := c.get()
	out <- prometheus.MustNewConstMetric(addressesDesc, prometheus.GaugeValue, float64(crowd.Addresses))
	out <- prometheus.MustNewConstMetric(largestDesc, prometheus.GaugeValue, float64(crowd.Largest))
}
