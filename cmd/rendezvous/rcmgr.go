package main

// What a point's host gives to all its peers and to one.

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// newResourceManager allows as many connections as an operator asked for: libp2p's
// own choice is a few hundred, for nodes that serve nobody, and eight of one address.
func newResourceManager(l limits) (network.ResourceManager, error) {
	config := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&config)
	rendezvous.Limits(&config)
	scaled := config.AutoScale()

	// The connection manager closes idle ones beyond l.connections a while after
	// they come; meanwhile there may be a quarter more.
	most := rcmgr.LimitVal(l.connections + l.connections/4)
	ample := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: most, ConnsInbound: most, FD: most,
			Streams: 8 * most, StreamsInbound: 8 * most,
		},
	}
	n := l.connectionsPerIP
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(ample.Build(scaled)),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: n}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: n}, {PrefixLength: 48, ConnCount: 8 * n}},
		),
		rcmgr.WithConnRateLimiters(newConnectionRate(n)))
	if err != nil {
		return nil, failf(exitCannotStart, "start the resource manager: %w", err)
	}
	return manager, nil
}

// newConnectionRate lets every address that may have n connections open twice as
// many at once, and then n anew within 40 seconds, in libp2p's own proportions.
func newConnectionRate(n int) *rate.Limiter {
	perSecond := float64(n) / 40
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{ // loopback: no limit
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
			{Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 32, Limit: rate.Limit{RPS: perSecond, Burst: 2 * n}},
			},
			IPv6SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 56, Limit: rate.Limit{RPS: perSecond, Burst: 2 * n}},
				{PrefixLength: 48, Limit: rate.Limit{RPS: 2.5 * perSecond, Burst: 10 * n}},
			},
			GracePeriod: time.Minute,
		},
	}
}
