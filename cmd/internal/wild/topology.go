//go:build linux

package main

// Making the network of a layout out of namespaces, and breaking it.

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// topology is a layout in network namespaces. Each machine is a namespace. Its interface is
// eth0. The other end of it is at the router, or at a NAT, and has the machine's name.
type topology struct {
	*layout
	prefix string // of the names of all its namespaces
}

// The machines that every network has.
const (
	routerName   = "net"
	observerName = "obs"
)

// namespace returns the network namespace of a machine.
func (n *topology) namespace(machine string) string { return n.prefix + machine }

// newTopology makes a network. The caller must remove it, also after an error.
func newTopology(ctx context.Context, prefix string, l *layout) (*topology, error) {
	n := &topology{layout: l, prefix: prefix}
	if err := n.build(ctx); err != nil {
		return n, fmt.Errorf("make a network: %w", err)
	}
	return n, nil
}

func (n *topology) machines() []string {
	names := []string{routerName, observerName}
	for _, p := range n.points {
		names = append(names, p.name)
	}
	for _, r := range n.nats {
		names = append(names, r.name)
	}
	for _, h := range n.nodes {
		names = append(names, h.name)
	}
	return names
}

func (n *topology) build(ctx context.Context) error {
	var adds strings.Builder
	for _, m := range n.machines() {
		fmt.Fprintf(&adds, "netns add %s\n", n.namespace(m))
	}
	if err := runIP(ctx, adds.String(), "-batch", "-"); err != nil {
		return err
	}
	for _, m := range n.machines() {
		if err := n.sysctl(ctx, m, "net/ipv6/conf/all/disable_ipv6=1"); err != nil {
			return err
		}
		if err := n.ip(ctx, m, "link set dev lo up"); err != nil {
			return err
		}
	}
	if err := n.buildRouter(ctx); err != nil {
		return err
	}
	for _, r := range n.nats {
		if err := n.buildNAT(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (n *topology) buildRouter(ctx context.Context) error {
	if err := n.nft(ctx, routerName, routerRules()); err != nil {
		return err
	}
	if err := n.sysctl(ctx, routerName, "net/ipv4/ip_forward=1"); err != nil {
		return err
	}
	err := n.ip(ctx, routerName,
		fmt.Sprintf("address add %s/32 dev lo", routerAddr),
		fmt.Sprintf("route add blackhole %s", emptyNetwork))
	if err != nil {
		return err
	}
	attached := map[string]netip.Addr{observerName: observerAddr}
	for _, p := range n.points {
		if !p.far {
			attached[p.name] = p.addr
		}
	}
	for _, r := range n.nats {
		attached[r.name] = r.external
	}
	for _, h := range n.nodes {
		if h.nat == nil {
			attached[h.name] = h.addr
		}
	}
	for name, addr := range attached {
		if err := n.attach(ctx, name, addr); err != nil {
			return err
		}
	}
	return nil
}

// attach gives a machine an address on the open network.
func (n *topology) attach(ctx context.Context, name string, addr netip.Addr) error {
	if err := n.ip(ctx, routerName, fmt.Sprintf("link add name %s type veth peer name eth0 netns %s", name, n.namespace(name))); err != nil {
		return err
	}
	return n.address(ctx, name, addr)
}

// address gives an interface that exists an address on the open network.
func (n *topology) address(ctx context.Context, name string, addr netip.Addr) error {
	err := n.ip(ctx, routerName,
		fmt.Sprintf("link set dev %s up", name),
		fmt.Sprintf("route add %s dev %s src %s", addr, name, routerAddr))
	if err != nil {
		return err
	}
	return n.ip(ctx, name, append([]string{"link set dev eth0 up"}, openAddress(addr)...)...)
}

// openAddress returns the commands that give eth0 an address on the open network.
func openAddress(addr netip.Addr) []string {
	return []string{
		fmt.Sprintf("address add %s/32 dev eth0", addr),
		fmt.Sprintf("route replace %s dev eth0", routerAddr),
		fmt.Sprintf("route replace default via %s", routerAddr),
	}
}

func (n *topology) buildNAT(ctx context.Context, r *nat) error {
	if err := n.nft(ctx, r.name, natRules(r, n.behind(r))); err != nil {
		return err
	}
	// The NAT does not pick up TCP connections in the middle.
	if err := n.sysctl(ctx, r.name, "net/ipv4/ip_forward=1", "net/netfilter/nf_conntrack_tcp_loose=0"); err != nil {
		return err
	}
	err := n.ip(ctx, r.name,
		"link add name lan type bridge",
		fmt.Sprintf("address add %s/%d dev lan", r.gateway(), r.lan.Bits()),
		"link set dev lan up")
	if err != nil {
		return err
	}
	for _, h := range n.behind(r) {
		err := n.ip(ctx, r.name,
			fmt.Sprintf("link add name %s type veth peer name eth0 netns %s", h.name, n.namespace(h.name)),
			fmt.Sprintf("link set dev %s master lan", h.name),
			fmt.Sprintf("link set dev %s up", h.name))
		if err != nil {
			return err
		}
		if err := n.ip(ctx, h.name, append([]string{"link set dev eth0 up"}, lanAddress(h)...)...); err != nil {
			return err
		}
	}
	return nil
}

// lanAddress returns the commands that give eth0 the address of a host behind a NAT.
func lanAddress(h *node) []string {
	return []string{
		fmt.Sprintf("address add %s/%d dev eth0", h.addr, h.nat.lan.Bits()),
		fmt.Sprintf("route replace default via %s", h.nat.gateway()),
	}
}

// remove removes all namespaces. Their processes must have ended. It continues after
// errors.
func (n *topology) remove(ctx context.Context) error {
	var dels strings.Builder
	for _, m := range n.machines() {
		fmt.Fprintf(&dels, "netns delete %s\n", n.namespace(m))
	}
	return runIP(ctx, dels.String(), "-force", "-batch", "-")
}

// cut makes the router drop all packets from and to addresses.
func (n *topology) cut(ctx context.Context, addrs ...netip.Addr) error {
	return n.change(ctx, "add", "cut", addrs)
}

// restore undoes cut.
func (n *topology) restore(ctx context.Context, addrs ...netip.Addr) error {
	return n.change(ctx, "delete", "cut", addrs)
}

// lose makes the router drop a fifth of the packets from and to addresses.
func (n *topology) lose(ctx context.Context, addrs ...netip.Addr) error {
	return n.change(ctx, "add", "lossy", addrs)
}

// loseNothing undoes lose.
func (n *topology) loseNothing(ctx context.Context, addrs ...netip.Addr) error {
	return n.change(ctx, "delete", "lossy", addrs)
}

func (n *topology) change(ctx context.Context, verb, set string, addrs []netip.Addr) error {
	var rules strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&rules, "%s element ip wild %s { %s }\n", verb, set, a)
	}
	return n.nft(ctx, routerName, rules.String())
}

// forget empties the connection table of a NAT.
func (n *topology) forget(ctx context.Context, r *nat) error {
	return runIP(ctx, "", "netns", "exec", n.namespace(r.name), "conntrack", "-F")
}

// move replaces the address of a node by its next one. Its NAT, if it has one, then forwards
// the port to the new address.
func (n *topology) move(ctx context.Context, h *node) error {
	old := *h
	h.addr = h.nextAddr
	if h.nat == nil {
		err := n.ip(ctx, routerName, fmt.Sprintf("route add %s dev %s src %s", h.addr, h.name, routerAddr))
		if err != nil {
			return err
		}
		if err := n.cut(ctx, old.addr); err != nil {
			return err
		}
		return n.ip(ctx, h.name, append([]string{fmt.Sprintf("address delete %s/32 dev eth0", old.addr)}, openAddress(h.addr)...)...)
	}
	forwards := fmt.Sprintf("delete element ip wild forwards { %s }\nadd element ip wild forwards { %s }\n", forward(&old), forward(h))
	if err := n.nft(ctx, h.nat.name, forwards); err != nil {
		return err
	}
	gone := fmt.Sprintf("address delete %s/%d dev eth0", old.addr, h.nat.lan.Bits())
	return n.ip(ctx, h.name, append([]string{gone}, lanAddress(h)...)...)
}

// linkDown takes down the interface of a host behind a NAT.
func (n *topology) linkDown(ctx context.Context, h *node) error {
	return n.ip(ctx, h.name, "link set dev eth0 down")
}

// linkUp brings it up, and adds the route that the kernel has removed.
func (n *topology) linkUp(ctx context.Context, h *node) error {
	return n.ip(ctx, h.name, "link set dev eth0 up", fmt.Sprintf("route replace default via %s", h.nat.gateway()))
}

// ip runs commands of ip(8) on a machine.
func (n *topology) ip(ctx context.Context, machine string, commands ...string) error {
	return runIP(ctx, strings.Join(commands, "\n")+"\n", "-netns", n.namespace(machine), "-batch", "-")
}

// nft gives rules to nft(8) on a machine.
func (n *topology) nft(ctx context.Context, machine, rules string) error {
	return runIP(ctx, rules, "netns", "exec", n.namespace(machine), "nft", "-f", "-")
}

// sysctl sets kernel parameters on a machine, each given as PATH=VALUE.
func (n *topology) sysctl(ctx context.Context, machine string, settings ...string) error {
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, s := range settings {
		path, value, _ := strings.Cut(s, "=")
		fmt.Fprintf(&script, "echo %s >/proc/sys/%s\n", value, path)
	}
	return runIP(ctx, script.String(), "netns", "exec", n.namespace(machine), "sh", "-s")
}
