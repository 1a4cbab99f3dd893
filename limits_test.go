package rendezvous

import (
	"testing"

	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/stretchr/testify/require"
)

// TestLimits: the protocol and the service get more streams than libp2p gives an unknown
// protocol, one peer gets what it needs, and all other limits stay.
func TestLimits(t *testing.T) {
	scale := func(config rcmgr.ScalingLimitConfig) rcmgr.PartialLimitConfig {
		limits := config.Scale(1<<30, 4096)
		return limits.ToPartialLimitConfig()
	}
	config := rcmgr.DefaultLimits
	without := scale(config)
	Limits(&config)
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
	require.Empty(t, rcmgr.DefaultLimits.ProtocolLimits, "libp2p's own are unchanged")
}
