package limit

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Origin is where a connection comes from, for limits: an IPv4 address (/32) or an IPv6
// network (/64), which is the least that one customer of a provider has. Origins are
// comparable. The zero Origin is that of connections without a limit by address.
type Origin struct {
	prefix netip.Prefix
}

// AddrOf returns the IP address that a connection with this remote address comes from,
// for limits. A relayed connection comes from its relay. The zero Addr has no limits:
// that of loopback, as in go-libp2p's limiter of connections, because a local program
// could stop the point just as well, and that of an address without an IP address.
func AddrOf(addr ma.Multiaddr) netip.Addr {
	raw, err := manet.ToIP(addr)
	if err != nil {
		return netip.Addr{}
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.Addr{}
	}
	ip = ip.Unmap()
	if ip.IsLoopback() && !isRelayed(addr) {
		return netip.Addr{}
	}
	return ip
}

func isRelayed(addr ma.Multiaddr) bool {
	for i := range addr {
		if addr[i].Protocol().Code == ma.P_CIRCUIT {
			return true
		}
	}
	return false
}

// OriginOf returns the origin of a connection with this remote address. It has one if it
// has an [AddrOf].
func OriginOf(addr ma.Multiaddr) Origin {
	ip := AddrOf(addr)
	if !ip.IsValid() {
		return Origin{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	return Origin{prefix: netip.PrefixFrom(ip, bits).Masked()}
}

// limited reports whether limits by address apply.
func (o Origin) limited() bool { return o.prefix.IsValid() }
