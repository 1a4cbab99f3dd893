package peerrecord

import (
	"net"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/status-im/go-waku-rendezvous/internal/ifaddrs"
)

// kernel keeps track of the IP addresses that the machine has and has had. A host
// remembers the addresses of interfaces for a minute, so it announces old ones for that
// long after it has moved. Its caller allows one call at a time.
type kernel struct {
	ask  func() ([]net.Addr, error)
	last []net.Addr // the kernel's last answer
	now  []net.IP
	had  map[string]struct{} // by net.IP.String
}

func newKernel(ask func() ([]net.Addr, error)) *kernel {
	k := &kernel{ask: ask, had: make(map[string]struct{})}
	k.look()
	return k
}

// look asks the kernel again.
func (k *kernel) look() {
	addrs, err := k.ask()
	if err != nil {
		return // the last answer is better than none
	}
	if ifaddrs.Same(addrs, k.last) {
		return
	}
	k.last = addrs
	k.now = nil
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			k.now = append(k.now, n.IP)
			k.had[n.IP.String()] = struct{}{}
		}
	}
}

// gone reports whether the machine had an IP address and no longer has it. An address of
// a NAT, which only other hosts observe, was never the machine's.
func (k *kernel) gone(ip net.IP) bool {
	for _, now := range k.now {
		if now.Equal(ip) {
			return false
		}
	}
	_, had := k.had[ip.String()]
	return had
}

// correct returns addrs with the IP addresses that are gone replaced by those that the
// machine has in their place. changed reports whether any was replaced.
func (k *kernel) correct(addrs []ma.Multiaddr) (corrected []ma.Multiaddr, changed bool) {
	k.look()
	for _, a := range addrs {
		ip, err := manet.ToIP(a)
		if err != nil || !k.gone(ip) {
			corrected = append(corrected, a)
			continue
		}
		changed = true
		corrected = append(corrected, k.replacements(a, ip)...)
	}
	return corrected, changed
}

// replacements returns an address with each IP address that the machine has and others can
// reach, in place of one that is gone.
func (k *kernel) replacements(a ma.Multiaddr, gone net.IP) []ma.Multiaddr {
	var all []ma.Multiaddr
	_, rest := ma.SplitFirst(a)
	for _, ip := range k.now {
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() || (ip.To4() == nil) != (gone.To4() == nil) {
			continue
		}
		if first, err := manet.FromIP(ip); err == nil {
			all = append(all, first.Encapsulate(rest))
		}
	}
	return all
}
