package peerrecord

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// MaxAddrsSize is how many bytes the addresses of a record may take together, as binary
// multiaddrs.
const MaxAddrsSize = 2048

func checkAddrs(addrs []ma.Multiaddr) error {
	switch {
	case len(addrs) == 0:
		return invalid("signed peer record has no addresses")
	case sizeOf(addrs) > MaxAddrsSize:
		return invalid(fmt.Sprintf("addresses are over %d bytes", MaxAddrsSize))
	}
	return nil
}

// sizeOf returns how many bytes addrs take as binary multiaddrs.
func sizeOf(addrs []ma.Multiaddr) int {
	n := 0
	for _, a := range addrs {
		n += len(a.Bytes())
	}
	return n
}

// Public returns the addresses that can be reached from anywhere, in a slice of its own:
// public ones, DNS names among them, and those through a public relay. It drops addresses
// that nobody can dial, such as those with port 0.
func Public(addrs []ma.Multiaddr) []ma.Multiaddr {
	var public []ma.Multiaddr
	for _, a := range addrs {
		if s := scopeOf(a); (s == publicScope || s == relayScope) && dialable(a) {
			public = append(public, a)
		}
	}
	return public
}

// Fit returns the addresses of a record, at most [MaxAddrsSize] bytes of them, without
// repeats, in a slice of its own, the most widely reachable first.
func Fit(addrs []ma.Multiaddr) []ma.Multiaddr {
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return cmp.Compare(scopeOf(a), scopeOf(b)) })
	room, taken := MaxAddrsSize, make(map[string]struct{}, len(addrs))
	return slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool {
		size := len(a.Bytes())
		_, repeated := taken[string(a.Bytes())]
		if size == 0 || size > room || repeated {
			return true
		}
		room -= size
		taken[string(a.Bytes())] = struct{}{}
		return false
	})
}

// maxUsable is how many addresses of one record are handed out. Whoever connects to a
// peer dials all of them, so a record with hundreds would make its readers attack others.
const maxUsable = 16

// Reach says which addresses are useful to a host that receives them: public ones only,
// public and private ones, or all, with loopback.
type Reach scope

// ReachOf returns the reach of a source that the host is connected to at addrs. Private
// addresses make sense if the source is on a private network or on loopback, loopback
// addresses only if it is on loopback.
func ReachOf(addrs []ma.Multiaddr) Reach {
	reach := publicScope
	for _, a := range addrs {
		reach = max(reach, localScope(a))
	}
	return Reach(reach)
}

// usableAddrs returns those of a peer's addresses that can be dialed, at most 16, the most
// widely reachable first. within says how many of them make sense within each reach. An address is returned without the peer's ID, which some peers append to it. One
// that ends with the ID of another peer is not an address of this one.
func usableAddrs(id peer.ID, addrs []ma.Multiaddr) (usable []ma.Multiaddr, within [loopbackScope + 1]uint8) {
	for local := publicScope; local <= loopbackScope; local++ {
		for s := publicScope; s <= loopbackScope; s++ {
			for _, a := range addrs {
				if localScope(a) != local || scopeOf(a) != s || !dialable(a) {
					continue
				}
				transport, last := peer.SplitAddr(a)
				if len(transport) > 0 && (last == "" || last == id) && len(usable) < maxUsable {
					usable = append(usable, transport)
				}
			}
		}
		within[local] = uint8(len(usable))
	}
	return slices.Clip(usable), within
}

// localScope returns loopbackScope or privateScope for an address that means another
// place on another network, and publicScope for the others, such as those that are
// reserved for documentation.
func localScope(a ma.Multiaddr) scope {
	direct, _ := beforeCircuit(a)
	switch {
	case manet.IsIPLoopback(direct):
		return loopbackScope
	case manet.IsPrivateAddr(direct):
		return privateScope
	default:
		return publicScope
	}
}

// scope says from where an address can be reached.
type scope int

// The scopes, the widest first.
const (
	publicScope   scope = iota
	relayScope          // through a public relay
	privateScope        // within a private network, also through a private relay
	loopbackScope       // on the same machine
)

func scopeOf(a ma.Multiaddr) scope {
	direct, relayed := beforeCircuit(a)
	switch {
	case manet.IsPublicAddr(direct) && relayed:
		return relayScope
	case manet.IsPublicAddr(direct):
		return publicScope
	case manet.IsIPLoopback(direct):
		return loopbackScope
	default:
		return privateScope
	}
}

// beforeCircuit returns the address of the relay if a goes through one, else a.
func beforeCircuit(a ma.Multiaddr) (direct ma.Multiaddr, relayed bool) {
	i := slices.IndexFunc(a, func(c ma.Component) bool { return c.Code() == ma.P_CIRCUIT })
	if i < 0 {
		return a, false
	}
	return a[:i], true
}

// dialable reports whether an address names a place to dial: it has no port 0, no
// unspecified IP address, and no wildcard as the name for TLS.
func dialable(a ma.Multiaddr) bool {
	direct, _ := beforeCircuit(a)
	if manet.IsIPUnspecified(direct) {
		return false
	}
	return !slices.ContainsFunc(direct, func(c ma.Component) bool {
		switch c.Code() {
		case ma.P_TCP, ma.P_UDP:
			return c.Value() == "0"
		case ma.P_SNI:
			return strings.HasPrefix(c.Value(), "*")
		default:
			return false
		}
	})
}
