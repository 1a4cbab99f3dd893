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

// OriginOf returns the origin of a connection with this remote address. A relayed
// connection comes from its relay. Loopback has no origin, as in go-libp2p's limiter of
// connections, because a local program could stop the point just as well. An address
// without an IP address has none either.
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
	if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err != nil && ip.IsLoopback() {
		return Origin{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil { // it has a zone, which does not happen
		return Origin{}
	}
	return Origin{prefix}
}

// limited reports whether limits by address apply.
func (o Origin) limited() bool { return o.prefix.IsValid() }
