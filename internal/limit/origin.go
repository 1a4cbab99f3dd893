package limit

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Origin is the network that a connection comes from: an IPv4 address, or the /64 of an
// IPv6 address, because a provider gives each customer a /64 at least. Equal origins are
// equal under ==. The zero Origin is exempt from all limits per origin.
type Origin struct {
	prefix netip.Prefix
}

// OriginOf returns the origin of a connection whose remote address is addr.
//
// The origin of a relayed connection is that of its relay. A connection from loopback has
// the zero Origin, as in go-libp2p's own connection limiter, because a program on the same
// machine can do worse. A relay on loopback counts all the same: its peers are elsewhere.
// A connection without an IP address has the zero Origin, too.
func OriginOf(addr ma.Multiaddr) Origin {
	raw, err := manet.ToIP(addr)
	if err != nil {
		return Origin{}
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return Origin{}
	}
	ip = ip.Unmap()
	if ip.IsLoopback() && !isRelayed(addr) {
		return Origin{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	return Origin{prefix: netip.PrefixFrom(ip, bits).Masked()}
}

func isRelayed(addr ma.Multiaddr) bool {
	for i := range addr {
		if addr[i].Protocol().Code == ma.P_CIRCUIT {
			return true
		}
	}
	return false
}

// exempt reports whether no limit per origin applies.
func (o Origin) exempt() bool { return o == Origin{} }
