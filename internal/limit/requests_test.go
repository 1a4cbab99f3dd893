package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestRequestsOfOneOrigin: a thousand identities at one address get what twenty get.
func TestRequestsOfOneOrigin(t *testing.T) {
	r := NewRequests(testRate, testBurst)
	now := time.Now()
	flood := func(o Origin, name string) (served int) {
		for i := range 1000 {
			for range testBurst {
				if r.Charge(peer.ID(fmt.Sprint(name, i)), o, now) == Serve {
					served++
				}
			}
		}
		return served
	}
	here, elsewhere := originOf("/ip4/192.0.2.1/tcp/1"), originOf("/ip4/192.0.2.2/tcp/1")
	require.Equal(t, peersPerOrigin*testBurst, flood(here, "here"))
	require.True(t, r.InDebt("new", here, now))
	require.Equal(t, Drop, r.Charge("new", here, now))
	require.False(t, r.InDebt("new", elsewhere, now))
	require.Equal(t, Serve, r.Charge("elsewhere", elsewhere, now))
	require.Equal(t, 1000*testBurst, flood(Origin{}, "loopback"), "exempt")

	r.Sweep(now.Add(time.Minute))
	require.Empty(t, r.peers.fullAt.m)
	require.Empty(t, r.origins.fullAt.m)
}

// TestRequestsOfOnePeer: a peer that is dropped takes nothing from its neighbours.
func TestRequestsOfOnePeer(t *testing.T) {
	r := NewRequests(testRate, testBurst)
	now := time.Now()
	here := originOf("/ip4/192.0.2.1/tcp/1")
	for range 100 * testBurst {
		r.Charge("greedy", here, now)
	}
	require.True(t, r.InDebt("greedy", here, now))
	require.True(t, r.InDebt("greedy", Origin{}, now))
	require.Equal(t, Serve, r.Charge("neighbour", here, now))
}

func TestRequestsWithoutLimit(t *testing.T) {
	r := NewRequests(0, 0)
	now := time.Now()
	for range 10_000 {
		require.Equal(t, Serve, r.Charge("p", originOf("/ip4/192.0.2.1/tcp/1"), now))
	}
	require.False(t, r.InDebt("p", Origin{}, now))
	r.Sweep(now)
}
