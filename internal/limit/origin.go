package limit

import (
	"encoding/binary"
	"iter"
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

// OriginOf returns the origin of a connection with this remote address. It is the zero
// Origin if [AddrOf] returns the zero Addr.
func OriginOf(addr ma.Multiaddr) Origin { return OriginAt(AddrOf(addr)) }

// OriginAt returns the origin of an address that [AddrOf] has returned.
func OriginAt(ip netip.Addr) Origin {
	if !ip.IsValid() {
		return Origin{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	return Origin{prefix: netip.PrefixFrom(ip, bits).Masked()}
}

// exempt reports whether no limit per origin applies.
func (o Origin) exempt() bool { return o == Origin{} }

// peersPerOrigin is how many times the budget of a peer all peers of an origin share. A
// thousand identities at one address get what twenty get.
const peersPerOrigin = 20

// wider are the networks that an IPv6 origin is in, which a customer may have as a whole,
// and how many times the budget of an origin each has.
var wider = []struct{ bits, share int }{{56, 4}, {48, 16}}

// networks yields the networks that have a budget of their own and that o is in, o first,
// and how many times the budget of a peer each has. The zero Origin is in none.
func (o Origin) networks() iter.Seq2[Origin, int] {
	return func(yield func(Origin, int) bool) {
		if o.exempt() || !yield(o, peersPerOrigin) || o.prefix.Addr().Is4() {
			return
		}
		for _, w := range wider {
			n := netip.PrefixFrom(o.prefix.Addr(), w.bits).Masked()
			if !yield(Origin{prefix: n}, w.share*peersPerOrigin) {
				return
			}
		}
	}
}

// subnet is the widest network that an origin is in and that has limits, in eight bytes: an
// IPv4 address or an IPv6 /48. That of the zero Origin is 0.
type subnet uint64

// isIP6 is set in an IPv6 subnet. The 48 bits of its prefix come below.
const isIP6 subnet = 1 << 63

func (o Origin) subnet() subnet {
	addr := o.prefix.Addr()
	switch {
	case o.exempt():
		return 0
	case addr.Is4():
		ip := addr.As4()
		return 1<<32 | subnet(binary.BigEndian.Uint32(ip[:]))
	default:
		ip := addr.As16()
		return isIP6 | subnet(binary.BigEndian.Uint64(ip[:8])>>16)
	}
}

// share returns how many times the registrations of an origin a subnet may have.
func (s subnet) share() int {
	if s&isIP6 != 0 {
		return wider[len(wider)-1].share
	}
	return 1
}
