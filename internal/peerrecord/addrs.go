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

const (
	// maxUsable is how many addresses of one record are handed out. Whoever connects to a
	// peer dials all of them, so a record with hundreds would make its readers attack others.
	maxUsable = 16
	// maxUsableMemory is how many bytes these take in memory, as [memoryBeside] counts them.
	// The 16 addresses of a host with certificate hashes in half of them take 2.6 KiB.
	maxUsableMemory = 4 << 10
	// maxComponents is how many components an address may have. Two bytes on the wire may
	// become a component of 34 bytes in memory. The longest real addresses, of WebTransport with
	// two certificate hashes to a relay and WebRTC from there, have about 12.
	maxComponents = 16
)

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
// widely reachable first, without repeats. If they would take too much memory, some are left
// out. within says how many of them make sense within each reach, and memory about how many
// bytes they take once they are compact. An address is returned without the peer's ID, which
// some peers append to it. One that ends with the ID of another peer is not an address of this
// one.
func usableAddrs(id peer.ID, addrs []ma.Multiaddr) (usable []ma.Multiaddr, within [loopbackScope + 1]uint8, memory int) {
	for _, r := range mostReachable(id, addrs) {
		more := memoryBeside(usable, r.addr)
		if memory+more > maxUsableMemory {
			continue
		}
		memory += more
		usable = append(usable, r.addr)
		for reach := r.local; reach <= loopbackScope; reach++ {
			within[reach]++
		}
	}
	return usable, within, memory
}

// ranked is an address and what it is ranked by: its local scope, and then its scope.
type ranked struct {
	addr         ma.Multiaddr
	local, scope scope
}

func (r ranked) compare(other ranked) int {
	return cmp.Or(cmp.Compare(r.local, other.local), cmp.Compare(r.scope, other.scope))
}

// mostReachable returns the addresses for usableAddrs. A record may have hundreds, so it looks
// at each only once, and at none after 16 of the highest rank.
func mostReachable(id peer.ID, addrs []ma.Multiaddr) []ranked {
	best := make([]ranked, 0, min(len(addrs), maxUsable)+1)
	for _, a := range addrs {
		full := len(best) == maxUsable
		if full && best[maxUsable-1].compare(ranked{}) == 0 {
			break // none is better
		}
		if !dialable(a) {
			continue
		}
		r := ranked{local: localScope(a), scope: scopeOf(a)}
		if full && r.compare(best[maxUsable-1]) >= 0 {
			continue
		}
		var last peer.ID
		r.addr, last = peer.SplitAddr(a)
		if len(r.addr) == 0 || last != "" && last != id || slices.ContainsFunc(best, func(b ranked) bool { return b.addr.Equal(r.addr) }) {
			continue
		}
		i := slices.IndexFunc(best, func(b ranked) bool { return r.compare(b) < 0 })
		if i < 0 {
			i = len(best)
		}
		best = slices.Insert(best, i, r)
		best = best[:min(len(best), maxUsable)]
	}
	return best
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
// unspecified IP address, no wildcard as the name for TLS, and not too many components.
func dialable(a ma.Multiaddr) bool {
	if len(a) > maxComponents {
		return false
	}
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
