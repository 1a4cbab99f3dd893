package rendezvous

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// TestLimits: the protocol and the service get more streams than libp2p gives an unknown
// protocol, one peer gets what it needs, and all other limits are unchanged.
func TestLimits(t *testing.T) {
	scale := func(config rcmgr.ScalingLimitConfig) rcmgr.PartialLimitConfig {
		limits := config.Scale(1<<30, 4096)
		return limits.ToPartialLimitConfig()
	}
	config := rcmgr.DefaultLimits
	without := scale(config)
	Limits(&config, "/further")
	with := scale(config)
	for _, all := range []rcmgr.ResourceLimits{with.Service[ServiceName], with.Protocol[RendezvousID_v001]} {
		require.GreaterOrEqual(t, int(all.StreamsInbound), 5000)
		require.Greater(t, all.StreamsInbound, 4*without.ProtocolDefault.StreamsInbound)
		require.LessOrEqual(t, int(all.StreamsInbound)*requestMemory, int(all.Memory), "each can be read")
	}
	for _, one := range []rcmgr.ResourceLimits{with.ServicePeer[ServiceName], with.ProtocolPeer[RendezvousID_v001]} {
		require.EqualValues(t, maxStreamsPerPeer, one.StreamsInbound)
		require.LessOrEqual(t, int(one.StreamsInbound)*(requestMemory+discoverMemory/2), int(one.Memory))
	}
	for _, whole := range [][2]rcmgr.ResourceLimits{{without.System, with.System}, {without.Transient, with.Transient}} {
		require.Equal(t, with.Protocol[RendezvousID_v001].StreamsInbound, whole[1].StreamsInbound-whole[0].StreamsInbound, "other protocols keep their share")
		require.Equal(t, whole[0].Conns, whole[1].Conns)
	}
	require.Equal(t, without.ProtocolDefault, with.ProtocolDefault)
	for _, id := range []protocol.ID{StandardID, "/further"} {
		require.Equal(t, with.Protocol[RendezvousID_v001], with.Protocol[id])
		require.Equal(t, with.ProtocolPeer[RendezvousID_v001], with.ProtocolPeer[id])
	}
	require.Empty(t, rcmgr.DefaultLimits.ProtocolLimits, "libp2p's own are unchanged")
}

// TestLimitsAgree, for machines of any size: the memory of the service is enough for all
// its streams. The memory of the host is enough for those and for all connections,
// including the memory that yamux reserves.
func TestLimitsAgree(t *testing.T) {
	const yamux = 256 << 10
	for _, machine := range []int64{512 << 20, 1 << 30, 4 << 30, 16 << 30} {
		config := rcmgr.DefaultLimits
		Limits(&config)
		scaled := config.Scale(machine/8, 4096) // as AutoScale does
		limits := scaled.ToPartialLimitConfig()
		system, service, peer := limits.System, limits.Service[ServiceName], limits.ServicePeer[ServiceName]
		require.GreaterOrEqual(t, int64(service.Memory), int64(service.StreamsInbound)*streamMemory, machine)
		require.GreaterOrEqual(t, int64(system.Memory), int64(service.Memory)+int64(system.Conns)*yamux, machine)
		require.GreaterOrEqual(t, int64(peer.Memory), int64(peer.StreamsInbound)*requestMemory+limit.MaxLargeDraws*int64(discoverMemory+wire.Waku.MaxAnswer), machine)
		require.Less(t, int64(service.Memory), machine/2, "no more than half of the machine")
	}
}

// TestConnLimits: an address gets as many connections as the limit, and no more.
func TestConnLimits(t *testing.T) {
	for _, perIP := range []int{20, 64} {
		config := rcmgr.DefaultLimits
		Limits(&config)
		manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Scale(8<<30, 4096)), ConnLimits(perIP)...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = manager.Close() })
		for _, addr := range []string{"/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/tcp/1"} {
			opened := 0
			for range 2 * perIP {
				scope, err := manager.OpenConnection(network.DirInbound, true, ma.StringCast(addr))
				if err != nil {
					continue
				}
				opened++
				t.Cleanup(scope.Done)
			}
			require.Equal(t, perIP, opened)
		}
	}
}
