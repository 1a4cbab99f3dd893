package rendezvous

// What the host's resource manager has to give to a point, and who its peers are to
// the limits: peers, and the addresses that they come from.

import (
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Limits adds to config what a point needs of its host's resource manager:
//
//	limits := rcmgr.DefaultLimits
//	libp2p.SetDefaultServiceLimits(&limits)
//	rendezvous.Limits(&limits)
//	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()))
//	…
//	h, err := libp2p.New(libp2p.ResourceManager(manager))
//
// Without it a host has libp2p's defaults for a protocol that it knows nothing
// of: a few hundred streams in, for all peers together, which is soon too few for
// a point and never for a peer that only asks one.
//
// It sets limits for the protocol, the service, and one peer's part of either, and
// adds the point's part to those of the whole host and to those of streams that are
// still being negotiated: call it once for each config. The limits on connections
// stay as they are; a busy point wants more of them in config.SystemBaseLimit and
// config.SystemLimitIncrease.
func Limits(config *rcmgr.ScalingLimitConfig) {
	// All peers: streams are short, so these are thousands of requests per second.
	// The memory is what the streams of a flood reserve, which is more than they use.
	all := rcmgr.BaseLimit{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	increase := rcmgr.BaseLimitIncrease{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	config.AddServiceLimit(ServiceName, all, increase)
	config.AddProtocolLimit(RendezvousID_v001, all, increase)
	addStreams(&config.SystemBaseLimit, all)
	addStreams(&config.TransientBaseLimit, all)
	addIncrease(&config.SystemLimitIncrease, increase)
	addIncrease(&config.TransientLimitIncrease, increase)

	// One peer: a request of its default burst each, whatever the size of the machine.
	one := rcmgr.BaseLimit{StreamsInbound: defaultBurst, StreamsOutbound: defaultBurst, Streams: 2 * defaultBurst, Memory: 16 << 20}
	config.AddServicePeerLimit(ServiceName, one, rcmgr.BaseLimitIncrease{})
	config.AddProtocolPeerLimit(RendezvousID_v001, one, rcmgr.BaseLimitIncrease{})
}

func addStreams(to *rcmgr.BaseLimit, more rcmgr.BaseLimit) {
	to.Streams += more.Streams
	to.StreamsInbound += more.StreamsInbound
	to.StreamsOutbound += more.StreamsOutbound
	to.Memory += more.Memory
}

func addIncrease(to *rcmgr.BaseLimitIncrease, more rcmgr.BaseLimitIncrease) {
	to.Streams += more.Streams
	to.StreamsInbound += more.StreamsInbound
	to.StreamsOutbound += more.StreamsOutbound
	to.Memory += more.Memory
}

// caller is who a stream comes from, as its connection says.
type caller struct {
	peer peer.ID
	addr ma.Multiaddr
	// subnet is where addr is, and located whether that counts against limits.
	subnet  subnet
	located bool
}

func callerOf(c network.Conn) caller {
	addr := c.RemoteMultiaddr()
	at, located := subnetOf(addr)
	return caller{peer: c.RemotePeer(), addr: addr, subnet: at, located: located}
}

// subnet is an IPv4 address (/32), or the network part of an IPv6 one (/64): what
// one customer of a provider has at least. No two that are routed are the same number.
type subnet uint64

// subnetOf returns the subnet that a connection comes from. A relayed connection
// comes from its relay. Loopback is nowhere, as in go-libp2p's own limiter of
// connections: whoever is there could stop the point just as well. So is what has
// no IP address.
func subnetOf(addr ma.Multiaddr) (at subnet, located bool) {
	raw, err := manet.ToIP(addr)
	if err != nil {
		return 0, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return 0, false
	}
	ip = ip.Unmap()
	if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err != nil && ip.IsLoopback() {
		return 0, false
	}
	network := ip.AsSlice()
	for _, b := range network[:min(8, len(network))] {
		at = at<<8 | subnet(b)
	}
	return at, true
}
