package rendezvous

// The resources that a point needs from its host's resource manager.

import (
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// maxStreamsPerPeer is how many streams of one peer a point serves at a time: one for
// each request of the default burst.
const maxStreamsPerPeer = 100

// Limits adds the resources that a point needs to the configuration of its host's
// resource manager:
//
//	limits := rcmgr.DefaultLimits
//	libp2p.SetDefaultServiceLimits(&limits)
//	rendezvous.Limits(&limits)
//	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()))
//	…
//	h, err := libp2p.New(libp2p.ResourceManager(manager))
//
// Without it a host has libp2p's defaults for an unknown protocol: a few hundred
// inbound streams for all peers together. That is too few for a point, and enough for a
// peer that only asks points.
//
// Limits sets the limits of the protocol and of the service, for all peers and for each
// peer, and adds the point's share to the limits of the whole host and of streams that
// are still being negotiated. Call it once for each config. It does not change the
// limits on connections: a busy point needs higher ones in config.SystemBaseLimit and
// config.SystemLimitIncrease.
func Limits(config *rcmgr.ScalingLimitConfig) {
	// All peers: streams are short, so this allows thousands of requests per second.
	// The streams of a flood reserve this much memory, which is more than they use.
	all := rcmgr.BaseLimit{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	increase := rcmgr.BaseLimitIncrease{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	config.AddServiceLimit(ServiceName, all, increase)
	config.AddProtocolLimit(RendezvousID_v001, all, increase)
	addStreams(&config.SystemBaseLimit, all)
	addStreams(&config.TransientBaseLimit, all)
	addIncrease(&config.SystemLimitIncrease, increase)
	addIncrease(&config.TransientLimitIncrease, increase)

	// One peer: the same on every machine.
	one := rcmgr.BaseLimit{StreamsInbound: maxStreamsPerPeer, StreamsOutbound: maxStreamsPerPeer, Streams: 2 * maxStreamsPerPeer, Memory: 16 << 20}
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
