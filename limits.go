package rendezvous

// The resources that a point needs from its host's resource manager.

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// streamMemory is what a stream reserves at most with a storage that makes no copies.
const streamMemory = int64(requestMemory + discoverMemory)

// Limits adds the resources that a point needs to the configuration of its host's
// resource manager:
//
//	limits := rcmgr.DefaultLimits
//	libp2p.SetDefaultServiceLimits(&limits)
//	rendezvous.Limits(&limits)
//	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rendezvous.ConnLimits(64)...)
//	…
//	h, err := libp2p.New(libp2p.ResourceManager(manager))
//
// Without it a host has libp2p's defaults for an unknown protocol: a few hundred
// inbound streams for all peers together. That is too few for a point, but enough for a
// peer that only sends requests to points.
//
// Limits sets the limits of the protocols, of further IDs of [WithStandardID] and of the
// service, for all peers and for each peer. It adds the same to the limits of the whole
// host and of streams that are still being negotiated. Each stream that it allows has the
// memory that a request and a large answer take. Call it once for each config.
//
// It does not change the limits on connections; [ConnLimits] does for each address. A busy
// point needs more of them in config.SystemBaseLimit and config.SystemLimitIncrease, and
// 256 KiB more memory there for each, because that is what yamux reserves.
func Limits(config *rcmgr.ScalingLimitConfig, further ...protocol.ID) {
	ids := append([]protocol.ID{RendezvousID_v001, StandardID}, further...)

	// All peers: streams are short, so this allows thousands of requests per second.
	all := rcmgr.BaseLimit{StreamsInbound: 1024, StreamsOutbound: 512, Streams: 1536, Memory: 1024 * streamMemory}
	increase := rcmgr.BaseLimitIncrease{StreamsInbound: 8192, StreamsOutbound: 2048, Streams: 10240, Memory: 8192 * streamMemory}
	config.AddServiceLimit(ServiceName, all, increase)
	for _, id := range ids {
		config.AddProtocolLimit(id, all, increase)
	}
	addStreams(&config.SystemBaseLimit, all)
	addStreams(&config.TransientBaseLimit, all)
	addIncrease(&config.SystemLimitIncrease, increase)
	addIncrease(&config.TransientLimitIncrease, increase)

	// One peer: the same on every machine.
	one := rcmgr.BaseLimit{StreamsInbound: maxStreamsPerPeer, StreamsOutbound: maxStreamsPerPeer, Streams: 2 * maxStreamsPerPeer, Memory: 16 << 20}
	config.AddServicePeerLimit(ServiceName, one, rcmgr.BaseLimitIncrease{})
	for _, id := range ids {
		config.AddProtocolPeerLimit(id, one, rcmgr.BaseLimitIncrease{})
	}
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

// ConnLimits returns options of a resource manager that accept perIP connections from each
// IPv4 address and each IPv6 /56, and eight times as many from a /48. New ones may come at a
// rate of perIP in 40 seconds, after a burst of twice perIP. Those from a /48 may come at
// 2.5 times that rate, after five times that burst. Loopback is exempt. These are libp2p's
// own proportions.
//
// libp2p's default is eight, which keeps most peers behind the NAT of an office or of a
// provider away from a point. They see their connection end, and the point logs
// nothing. 64 is a good value for a point.
func ConnLimits(perIP int) []rcmgr.Option {
	perSecond := float64(perIP) / 40
	return []rcmgr.Option{
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perIP}, {PrefixLength: 48, ConnCount: 8 * perIP}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{ // no limit for loopback
				{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
				{Prefix: netip.MustParsePrefix("::1/128")},
			},
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{
					{PrefixLength: 32, Limit: rate.Limit{RPS: perSecond, Burst: 2 * perIP}},
				},
				IPv6SubnetLimits: []rate.SubnetLimit{
					{PrefixLength: 56, Limit: rate.Limit{RPS: perSecond, Burst: 2 * perIP}},
					{PrefixLength: 48, Limit: rate.Limit{RPS: 2.5 * perSecond, Burst: 10 * perIP}},
				},
				GracePeriod: time.Minute,
			},
		}),
	}
}
