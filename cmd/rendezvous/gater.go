package main

// Access control: which peers and networks may connect to a point.

import (
	"net/netip"
	"slices"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// peerList is the value of --allow or --deny.
type peerList struct {
	peers    []peer.ID
	networks []netip.Prefix
}

// parsePeerList parses peer IDs, IP addresses and networks such as 192.0.2.0/24.
func parsePeerList(flag string, values []string) (peerList, error) {
	var l peerList
	for _, v := range values {
		if id, err := peer.Decode(v); err == nil {
			l.peers = append(l.peers, id)
		} else if prefix, err := netip.ParsePrefix(v); err == nil && !prefix.Addr().Is4In6() {
			l.networks = append(l.networks, prefix.Masked())
		} else if addr, err := netip.ParseAddr(v); err == nil {
			addr = addr.Unmap() // ipOf unmaps the addresses of connections, too
			l.networks = append(l.networks, netip.PrefixFrom(addr, addr.BitLen()))
		} else {
			return peerList{}, usagef("--%s %q is not a peer ID, an IP address or a network such as 192.0.2.0/24", flag, v)
		}
	}
	return l, nil
}

func (l *peerList) empty() bool { return len(l.peers) == 0 && len(l.networks) == 0 }

func (l *peerList) hasPeer(id peer.ID) bool { return slices.Contains(l.peers, id) }

func (l *peerList) hasAddr(a ma.Multiaddr) bool {
	addr, ok := ipOf(a)
	return ok && slices.ContainsFunc(l.networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func ipOf(a ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}

// gater is a [connmgr.ConnectionGater]. It rejects peers on the deny list and, if there
// is an allow list, peers that are not on it.
type gater struct {
	allow, deny peerList
}

var _ connmgr.ConnectionGater = (*gater)(nil)

// admits reports whether a peer with this ID may be connected at this address.
func (g *gater) admits(id peer.ID, a ma.Multiaddr) bool {
	if g.deny.hasPeer(id) || g.deny.hasAddr(a) {
		return false
	}
	return g.allow.empty() || g.allow.hasPeer(id) || g.allow.hasAddr(a)
}

// InterceptAccept rejects denied networks before the handshake.
func (g *gater) InterceptAccept(addrs network.ConnMultiaddrs) bool {
	return !g.deny.hasAddr(addrs.RemoteMultiaddr())
}

func (g *gater) InterceptSecured(_ network.Direction, id peer.ID, addrs network.ConnMultiaddrs) bool {
	return g.admits(id, addrs.RemoteMultiaddr())
}

func (g *gater) InterceptPeerDial(id peer.ID) bool { return !g.deny.hasPeer(id) }

func (g *gater) InterceptAddrDial(id peer.ID, a ma.Multiaddr) bool               { return g.admits(id, a) }
func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
