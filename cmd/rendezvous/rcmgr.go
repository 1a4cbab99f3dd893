package main

// The resource limits of a point's host.

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// newResourceManager returns a resource manager with the limits of libp2p, except for
// connections. libp2p's defaults are for ordinary peers: they allow a few hundred
// connections, and eight from one address.
func newResourceManager(l limits) (network.ResourceManager, error) {
	config := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&config)
	rendezvous.Limits(&config)
	scaled := config.AutoScale()

	// The connection manager closes idle connections above l.connections only after a
	// grace period. Until then there may be a quarter more.
	maxConns := rcmgr.LimitVal(l.connections + l.connections/4)
	overrides := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: maxConns, ConnsInbound: maxConns, FD: maxConns,
			Streams: 8 * maxConns, StreamsInbound: 8 * maxConns,
		},
	}
	n := l.connectionsPerIP
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(overrides.Build(scaled)),
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

// newConnectionRate returns a limit on the rate of new connections from one address: a
// burst of 2n, refilled with n in 40 seconds. These are libp2p's own proportions, for n
// concurrent connections.
func newConnectionRate(n int) *rate.Limiter {
	perSecond := float64(n) / 40
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{ // no limit for loopback
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
