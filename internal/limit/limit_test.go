package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

const relayID = "12D3KooWCaucoapNCiqBXR3eaA4bFpFeGFJoQ5LobQ1gpV2jSqJx"

func originOf(addr string) Origin { return OriginOf(ma.StringCast(addr)) }

// testOrigin returns one of many origins.
func testOrigin(i int) Origin { return originOf(fmt.Sprintf("/ip4/10.0.%d.%d/tcp/1", i/256, i%256)) }

func TestOriginOf(t *testing.T) {
	for _, same := range [][]string{
		{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/2/quic-v1", "/ip6/::ffff:192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/4001/p2p/" + relayID + "/p2p-circuit"},
		{"/ip4/192.0.2.2/tcp/1"},
		{"/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::ffff:ffff:ffff:ffff/udp/2/quic-v1", "/ip6zone/eth0/ip6/2001:db8::2/tcp/1"},
		{"/ip6/2001:db8:0:1::1/tcp/1"},
		{"/ip4/127.0.0.1/tcp/1/p2p/" + relayID + "/p2p-circuit"}, // anybody may come through a relay
	} {
		for _, a := range same {
			require.True(t, originOf(a).limited(), a)
			require.Equal(t, originOf(same[0]), originOf(a), a)
		}
		for _, other := range []string{"/ip4/192.0.2.3/tcp/1", "/ip6/2001:db8:0:2::1/tcp/1"} {
			require.NotEqual(t, originOf(same[0]), originOf(other))
		}
	}
	for _, exempt := range []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.9.9.9/udp/1/quic-v1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1", "/memory/7", "/dns4/localhost/tcp/1", "/unix/tmp"} {
		require.Equal(t, Origin{}, originOf(exempt), exempt)
	}
}

// TestBuckets: a key has its burst at once and its rate in the long run. A little over
// the rate it still gets the rate, at four times the rate nothing.
func TestBuckets(t *testing.T) {
	const perSecond, burst = 10, 20
	begun := time.Now()
	ask := func(everySecond, seconds int) map[Verdict]int {
		b := newBuckets[string](perSecond, burst)
		got := make(map[Verdict]int)
		for i := range everySecond * seconds {
			now := begun.Add(time.Duration(i) * time.Second / time.Duration(everySecond))
			inDebt := b.inDebt("p", now)
			v := b.take("p", now)
			require.Equal(t, v == Drop, inDebt)
			got[v]++
		}
		return got
	}
	require.Equal(t, map[Verdict]int{Serve: 600}, ask(perSecond, 60), "at the rate")
	got := ask(perSecond*5/4, 400)
	require.InDelta(t, perSecond, got[Serve]/400, 1, "a little over the rate")
	require.Zero(t, got[Drop])
	got = ask(perSecond*5, 400)
	require.LessOrEqual(t, got[Serve], burst*2, "far over the rate")
	require.Positive(t, got[Drop])

	b := newBuckets[string](perSecond, burst)
	for i := range burst {
		require.Equal(t, Serve, b.take("p", begun), "request %d of the burst", i+1)
	}
	require.Equal(t, Decline, b.take("p", begun), "one more")
	require.Equal(t, Serve, b.take("another", begun), "others have their own bucket")
	require.Equal(t, Serve, b.take("p", begun.Add(time.Second/perSecond*5/4)), "after a wait")
}

func TestBucketsWithoutLimit(t *testing.T) {
	b := newBuckets[string](0, 0)
	for range 10_000 {
		require.Equal(t, Serve, b.take("p", time.Now()))
	}
	require.Empty(t, b.fullAt)
	b.sweep(time.Now())
}

// TestBucketsAreForgotten: full buckets at the next sweep, and random ones if there are
// too many.
func TestBucketsAreForgotten(t *testing.T) {
	begun := time.Now()
	b := newBuckets[int](10, 20)
	for i := range maxBuckets + 1000 {
		b.take(i, begun)
	}
	require.Len(t, b.fullAt, maxBuckets)
	b.sweep(begun)
	require.Len(t, b.fullAt, maxBuckets, "buckets that are not full stay")
	b.sweep(begun.Add(time.Second / 10))
	require.Empty(t, b.fullAt)
	require.Zero(t, b.peak, "the map is a new one")
}

// TestShareOfOrigin: a thousand identities behind one address get what twenty peers get.
func TestShareOfOrigin(t *testing.T) {
	const perSecond, burst = 10, 20
	r := NewRequests(perSecond, burst)
	now := time.Now()
	flood := func(o Origin) (served int) {
		for i := range 1000 {
			for range burst {
				if r.Charge(peer.ID(fmt.Sprint(o, i)), o, now) == Serve {
					served++
				}
			}
		}
		return served
	}
	require.Equal(t, peersPerOrigin*burst, flood(testOrigin(1)))
	require.True(t, r.InDebt("a new one", testOrigin(1), now))
	require.Equal(t, Serve, r.Charge("elsewhere", testOrigin(2), now))
	require.Equal(t, 1000*burst, flood(Origin{}), "connections without an origin have no limit by address")

	r.Sweep(now.Add(time.Minute))
	require.Empty(t, r.peers.fullAt)
	require.Empty(t, r.origins.fullAt)
}

func TestStreams(t *testing.T) {
	s := NewStreams(2)
	require.True(t, s.Enter("a"))
	require.True(t, s.Enter("a"))
	require.False(t, s.Enter("a"))
	require.True(t, s.Enter("b"), "others have their own limit")
	s.Leave("a")
	require.True(t, s.Enter("a"))
	s.Leave("a")
	s.Leave("a")
	s.Leave("b")
	require.Empty(t, s.inService)
}

// clocked is Registrations at a time that a test sets.
type clocked struct {
	*Registrations
	now time.Time
}

func newClocked(limit int) *clocked {
	now := time.Now()
	return &clocked{NewRegistrations(limit, now), now}
}

func (c *clocked) register(name string, o Origin, ttl time.Duration) error {
	place, err := c.Reserve(o, "n", peer.ID(name), c.now.Add(ttl), c.now)
	if err != nil {
		return err
	}
	c.Confirm(place)
	return nil
}

func TestRegistrations(t *testing.T) {
	const ttl = 20 * time.Second
	one, two := testOrigin(1), testOrigin(2)
	c := newClocked(1000)
	for i := range 1000 {
		require.NoError(t, c.register(fmt.Sprint(i), one, ttl))
	}
	require.ErrorIs(t, c.register("1001st", one, ttl), ErrOriginLimit)
	require.NoError(t, c.register("1001st", two, ttl), "from elsewhere")
	require.NoError(t, c.register("7", one, ttl), "a refresh")
	require.NoError(t, c.register("1001st", one, ttl), "a refresh by a peer that moved")
	require.Equal(t, map[Origin]int{one: 1000, two: 1}, c.count, "it counts where there is room")
	require.NoError(t, c.register("7", two, ttl))
	require.Equal(t, map[Origin]int{one: 999, two: 2}, c.count, "it counts where it is now")
	require.NoError(t, c.register("1001st", one, ttl))

	c.now = c.now.Add(ttl - tickLength)
	require.NoError(t, c.register("0", one, ttl), "it is still live")
	require.ErrorIs(t, c.register("new", one, ttl), ErrOriginLimit)
	c.now = c.now.Add(tickLength)
	for i := range 999 {
		require.NoError(t, c.register(fmt.Sprint("new", i), one, ttl), "registrations that were not refreshed have ended")
	}
	require.ErrorIs(t, c.register("1001st", one, ttl), ErrOriginLimit)
}

// TestRegistrationsAreForgotten: ended registrations take no memory, without traffic.
func TestRegistrationsAreForgotten(t *testing.T) {
	c := newClocked(100)
	for i := range 10_000 {
		require.NoError(t, c.register(fmt.Sprint(i), testOrigin(i/100), time.Second))
	}
	c.Sweep(c.now.Add(time.Second))
	require.Empty(t, c.live)
	require.Empty(t, c.count)
	require.Empty(t, c.due)
	require.Zero(t, c.peak, "the map is a new one")
}

// TestRelease: a registration that was not made is not counted.
func TestRelease(t *testing.T) {
	c := newClocked(1)
	for range 3 {
		place, err := c.Reserve(testOrigin(1), "n", "p", c.now.Add(time.Second), c.now)
		require.NoError(t, err)
		c.Release(place)
	}
	require.NoError(t, c.register("a", testOrigin(1), time.Second))
	place, err := c.Reserve(testOrigin(1), "n", "a", c.now.Add(time.Second), c.now)
	require.NoError(t, err)
	c.Release(place)
	require.ErrorIs(t, c.register("b", testOrigin(1), time.Second), ErrOriginLimit, "a refresh that fails leaves the registration")
	c.now = c.now.Add(time.Second)
	require.NoError(t, c.register("b", testOrigin(1), time.Second))
}

// TestLastPlace: concurrent registrations do not exceed the limit.
func TestLastPlace(t *testing.T) {
	const limit = 100
	c := newClocked(limit)
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range 4 * limit {
		wg.Go(func() {
			if c.register(fmt.Sprint(i), testOrigin(1), time.Minute) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, limit, in.Load())
}

// TestRegistrationsAgainstModel compares Registrations with a plain map.
func TestRegistrationsAgainstModel(t *testing.T) {
	const limit = 5
	type held struct {
		origin Origin
		until  time.Time
	}
	random := rand.New(rand.NewPCG(1, 2))
	c := newClocked(limit)
	model := make(map[string]held)
	count := func(o Origin) (n int) {
		for _, h := range model {
			if h.origin == o {
				n++
			}
		}
		return n
	}
	for range 20_000 {
		c.now = c.now.Add(time.Duration(random.IntN(4)) * tickLength)
		for name, h := range model {
			if !c.now.Before(h.until) {
				delete(model, name)
			}
		}
		name, origin := fmt.Sprint(random.IntN(40)), testOrigin(random.IntN(4))
		until := c.now.Add(time.Duration(1+random.IntN(50)) * tickLength)
		h, lives := model[name]
		full := count(origin) >= limit
		err := c.register(name, origin, until.Sub(c.now))
		require.Equal(t, full && !lives, err != nil)
		if err == nil {
			if !lives || h.origin != origin && !full {
				h.origin = origin
			}
			model[name] = held{h.origin, until}
		}
		require.Len(t, c.live, len(model))
		for i := range 4 {
			require.Equal(t, count(testOrigin(i)), c.count[testOrigin(i)])
		}
	}
}

func TestRegistrationsWithoutLimit(t *testing.T) {
	c := newClocked(0)
	require.NoError(t, c.register("a", testOrigin(1), time.Second))
	require.Empty(t, c.live)
}

func BenchmarkCharge(b *testing.B) {
	r := NewRequests(50, 100)
	ids, origins := make([]peer.ID, 10_000), make([]Origin, 10_000)
	for i := range ids {
		ids[i], origins[i] = peer.ID(fmt.Sprintf("%038d", i)), testOrigin(i)
	}
	now := time.Now()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Microsecond)
		r.Charge(ids[i%len(ids)], origins[i%len(ids)], now)
	}
}
