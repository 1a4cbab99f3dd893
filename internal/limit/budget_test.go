package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestBudgetOfOneOrigin: a thousand identities at one address get what twenty get.
func TestBudgetOfOneOrigin(t *testing.T) {
	r := NewBudget(testRate, testBurst)
	now := time.Now()
	flood := func(o Origin, name string) (served int) {
		for i := range 1000 {
			for range testBurst {
				if r.Charge(peer.ID(fmt.Sprint(name, i)), o, Request, now) == Serve {
					served++
				}
			}
		}
		return served
	}
	here, elsewhere := originOf("/ip4/192.0.2.1/tcp/1"), originOf("/ip4/192.0.2.2/tcp/1")
	require.Equal(t, peersPerOrigin*testBurst, flood(here, "here"))
	require.False(t, r.InDebt("new", now), "a peer pays for its own refreshes")
	require.Equal(t, Drop, r.Charge("new", here, Request, now))
	require.Equal(t, Serve, r.Charge("elsewhere", elsewhere, Request, now))
	require.Equal(t, 1000*testBurst, flood(Origin{}, "loopback"), "exempt")

	r.Sweep(now.Add(time.Minute))
	require.Empty(t, r.peers.fullAt.m)
	require.Empty(t, r.networks.fullAt.m)
}

// TestBudgetOfOnePeer: a peer that is dropped takes nothing from its neighbours.
func TestBudgetOfOnePeer(t *testing.T) {
	r := NewBudget(testRate, testBurst)
	now := time.Now()
	here := originOf("/ip4/192.0.2.1/tcp/1")
	for range 100 * testBurst {
		r.Charge("greedy", here, Request, now)
	}
	require.True(t, r.InDebt("greedy", now))
	require.Equal(t, Serve, r.Charge("neighbour", here, Request, now))
}

func TestBudgetWithoutLimit(t *testing.T) {
	r := NewBudget(0, 0)
	now := time.Now()
	for range 10_000 {
		require.Equal(t, Serve, r.Charge("p", originOf("/ip4/192.0.2.1/tcp/1"), Request, now))
	}
	require.False(t, r.InDebt("p", now))
	r.Sweep(now)
}

// TestBudgetOfNetworks: all /64s of a /56 get what four of them get, and all of a /48
// what sixteen get, also when each identity is in another one.
func TestBudgetOfNetworks(t *testing.T) {
	const perOrigin = peersPerOrigin * testBurst
	for name, test := range map[string]struct {
		addr string // of the nth /64
		want int
	}{
		"a /64":     {"/ip6/2001:db8::%x/tcp/1", perOrigin},
		"a /56":     {"/ip6/2001:db8:0:%x::1/tcp/1", 4 * perOrigin},
		"a /48":     {"/ip6/2001:db8:0:%x00::1/tcp/1", 16 * perOrigin},
		"many /48s": {"/ip6/2001:db8:%x::1/tcp/1", 200 * testBurst},
	} {
		r, now, served := NewBudget(testRate, testBurst), time.Now(), 0
		for i := range 200 {
			for j := range 4 * testBurst {
				o := originOf(fmt.Sprintf(test.addr, i))
				if name == "many /48s" && j >= testBurst {
					break
				}
				if r.Charge(peer.ID(fmt.Sprint(i, "/", j/testBurst)), o, Request, now) == Serve {
					served++
				}
			}
		}
		require.Equal(t, test.want, served, name)
	}
}

// TestBudgetChargesAllOrNone: what one network cannot pay costs no other its price.
func TestBudgetChargesAllOrNone(t *testing.T) {
	b, now := NewBudget(testRate, testBurst), time.Now()
	greedy, neighbour := originOf("/ip6/2001:db8::1/tcp/1"), originOf("/ip6/2001:db8:0:1::1/tcp/1")
	for i := range peersPerOrigin {
		require.True(t, b.Take(nth(i), greedy, testBurst, now))
	}
	for i := range 1000 {
		require.False(t, b.Take(nth(1000+i), greedy, 1, now))
	}
	for i := range 3 * peersPerOrigin { // what is left of the /56
		require.True(t, b.Take(nth(2000+i), originOf(fmt.Sprintf("/ip6/2001:db8:0:%x::1/tcp/1", 1+i%3)), testBurst, now), i)
	}
	require.False(t, b.Take("late", neighbour, 1, now))
	b.Settle(nth(2000), neighbour, -testBurst, now)
	require.True(t, b.Take("late", neighbour, 1, now), "what was given back")
}

// TestPriceOverBurst: a full bucket pays for anything, so that no key is locked out.
func TestPriceOverBurst(t *testing.T) {
	b, now := NewBudget(1, 3), time.Now()
	require.Equal(t, Serve, b.ChargePeer("p", checkP521, now))
	require.Equal(t, Decline, b.ChargePeer("p", Refresh, now))
}
