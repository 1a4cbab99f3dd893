//go:build linux

package main

// The machines of a network and their addresses. No packet leaves the namespaces,
// whatever its address: see runInSandbox.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// transport says which transports a peer speaks.
type transport string

const (
	overTCP  transport = "tcp"
	overQUIC transport = "quic"
	overBoth transport = "both"
)

var transports = []transport{overTCP, overQUIC, overBoth}

// The open network is the upper half of 192.0.0.0/24. IANA reserves it, so that no machine
// on the Internet has these addresses, and go-libp2p treats them as public.
var (
	routerAddr   = netip.MustParseAddr("192.0.0.129")
	observerAddr = netip.MustParseAddr("192.0.0.130")
	// emptyNetwork has no machines. The router drops packets to it.
	emptyNetwork = netip.MustParsePrefix("192.0.0.192/26")
)

const pointPort = 4040

// point is a rendezvous point, a machine on the open network.
type point struct {
	name    string
	addr    netip.Addr
	id      string // its peer ID
	hostile bool
	far     bool // behind a link with a delay
}

// nat is a router with a public address that translates those of the hosts behind it.
type nat struct {
	name     string
	external netip.Addr
	lan      netip.Prefix
}

func (n *nat) gateway() netip.Addr { return n.lan.Addr().Next() }

// node is a peer: a host behind a NAT, or on the open network.
type node struct {
	name      string
	id        string // its peer ID
	transport transport
	// noDetector: its host runs without libp2p's black hole detector for UDP, as half of those
	// do that speak only QUIC. Those whose links go down for minutes have it.
	noDetector bool
	nat        *nat // nil on the open network
	port       int  // forwarded by the NAT, and no other node's
	addr       netip.Addr
	nextAddr   netip.Addr // after it has moved
}

// announce returns the multiaddrs that the node announces besides those of its interface.
func (n *node) announce() []string {
	if n.nat == nil {
		return nil
	}
	return listenAddrs(n.transport, n.nat.external.String(), n.port)
}

// connects reports whether the node and another speak a common transport.
func (n *node) connects(other *node) bool {
	return n.transport == other.transport || n.transport == overBoth || other.transport == overBoth
}

func listenAddrs(t transport, ip string, port int) []string {
	var addrs []string
	if t != overQUIC {
		addrs = append(addrs, fmt.Sprintf("/ip4/%s/tcp/%d", ip, port))
	}
	if t != overTCP {
		addrs = append(addrs, fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip, port))
	}
	return addrs
}

// layout describes a network. One router connects all its machines.
type layout struct {
	points []*point
	nats   []*nat
	nodes  []*node
}

// layoutOptions choose among the networks that the faults need.
type layoutOptions struct {
	open    bool // add three peers on the open network, one of each transport
	hostile bool // have two points, one hostile, and an honest one far away
}

// newLayout returns three points and ten peers behind three NATs. Behind each NAT
// there are peers of all transports.
func newLayout(o layoutOptions) *layout {
	l := new(layout)
	names := []string{"p1", "p2", "p3"}
	if o.hostile {
		names = []string{"p1", "h1"}
	}
	addr := netip.MustParseAddr("192.0.0.140")
	next := func() netip.Addr { addr = addr.Next(); return addr }
	for _, name := range names {
		hostile := strings.HasPrefix(name, "h")
		l.points = append(l.points, &point{name: name, addr: next(), hostile: hostile, far: o.hostile && !hostile})
	}
	for i, hosts := range [][]transport{
		{overTCP, overQUIC, overBoth, overBoth},
		{overTCP, overQUIC, overBoth},
		{overTCP, overQUIC, overBoth},
	} {
		n := &nat{
			name:     string(rune('a' + i)),
			external: next(),
			lan:      netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i + 1), 0}), 24),
		}
		l.nats = append(l.nats, n)
		for j, t := range hosts {
			lan := n.lan.Addr().As4()
			lan[3] = byte(11 + j)
			moved := lan
			moved[3] += 40
			l.nodes = append(l.nodes, &node{
				name:       fmt.Sprintf("%s%d", n.name, j+1),
				transport:  t,
				noDetector: t == overQUIC && i == 2,
				nat:        n,
				port:       4101 + len(l.nodes),
				addr:       netip.AddrFrom4(lan),
				nextAddr:   netip.AddrFrom4(moved),
			})
		}
	}
	if !o.open {
		return l
	}
	for i, t := range transports {
		l.nodes = append(l.nodes, &node{
			name:       fmt.Sprintf("d%d", i+1),
			transport:  t,
			noDetector: t == overQUIC,
			port:       4101 + len(l.nodes),
			addr:       next(),
			nextAddr:   next(),
		})
	}
	return l
}

// behind returns the nodes behind a NAT.
func (l *layout) behind(n *nat) []*node {
	return slices.DeleteFunc(slices.Clone(l.nodes), func(other *node) bool { return other.nat != n })
}

// point returns the point of a name, nil if there is none.
func (l *layout) point(name string) *point {
	if i := slices.IndexFunc(l.points, func(p *point) bool { return p.name == name }); i >= 0 {
		return l.points[i]
	}
	return nil
}

// pointAddrs returns the multiaddrs of all points, with their peer IDs.
func (l *layout) pointAddrs() []string {
	var addrs []string
	for _, p := range l.points {
		for _, a := range listenAddrs(overBoth, p.addr.String(), pointPort) {
			addrs = append(addrs, a+"/p2p/"+p.id)
		}
	}
	return addrs
}

// routerRules returns the nft rules of the router. It silently drops all packets from and
// to addresses in the set cut, and a fifth of those from and to addresses in the set lossy.
func routerRules() string {
	return `table ip wild {
	set cut { type ipv4_addr; }
	set lossy { type ipv4_addr; }
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @cut drop
		ip daddr @cut drop
		ip saddr @lossy numgen random mod 100 < 20 drop
		ip saddr != @lossy ip daddr @lossy numgen random mod 100 < 20 drop
	}
}
`
}

// natRules returns the nft rules of a NAT. Like a router at home it translates outgoing
// connections, forwards a port to each host, also from inside (hairpinning), drops packets
// of connections that it does not know, and does not respond to anyone outside.
func natRules(n *nat, hosts []*node) string {
	var forwards []string
	for _, h := range hosts {
		forwards = append(forwards, forward(h))
	}
	r := strings.NewReplacer("EXTERNAL", n.external.String(), "LAN", n.lan.String(), "FORWARDS", strings.Join(forwards, ", "))
	return r.Replace(`table ip wild {
	map forwards { type inet_service : ipv4_addr; elements = { FORWARDS }; }
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr EXTERNAL tcp dport 4100-4199 dnat to tcp dport map @forwards
		ip daddr EXTERNAL udp dport 4100-4199 dnat to udp dport map @forwards
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
		ip saddr LAN ip daddr LAN masquerade
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		ct state established,related accept
		iifname "lan" accept
		ct status dnat accept
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "eth0" drop
	}
}
`)
}

// forward returns a node's element in the map of forwarded ports.
func forward(n *node) string { return fmt.Sprintf("%d : %s", n.port, n.addr) }
