package rendezvous

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

const relayID = "12D3KooWCaucoapNCiqBXR3eaA4bFpFeGFJoQ5LobQ1gpV2jSqJx"

func TestSubnetOf(t *testing.T) {
	for _, same := range [][]string{
		{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/2/quic-v1", "/ip6/::ffff:192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/4001/p2p/" + relayID + "/p2p-circuit"},
		{"/ip4/192.0.2.2/tcp/1"},
		{"/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::ffff:ffff:ffff:ffff/udp/2/quic-v1", "/ip6zone/eth0/ip6/2001:db8::2/tcp/1"},
		{"/ip6/2001:db8:0:1::1/tcp/1"},
		{"/ip4/127.0.0.1/tcp/1/p2p/" + relayID + "/p2p-circuit"}, // a relay brings all the world
	} {
		want, _ := subnetOf(ma.StringCast(same[0]))
		for _, a := range same {
			at, located := subnetOf(ma.StringCast(a))
			require.True(t, located, a)
			require.Equal(t, want, at, a)
		}
		for _, other := range []string{"/ip4/192.0.2.3/tcp/1", "/ip6/2001:db8:0:2::1/tcp/1"} {
			at, _ := subnetOf(ma.StringCast(other))
			require.NotEqual(t, want, at)
		}
	}
	for _, exempt := range []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.9.9.9/udp/1/quic-v1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1", "/memory/7", "/dns4/localhost/tcp/1", "/unix/tmp"} {
		_, located := subnetOf(ma.StringCast(exempt))
		require.False(t, located, exempt)
	}
}

// TestBucket: the burst at once, the rate in the long run, a little over the rate
// still the rate, four times of it nothing, and far beyond not even an answer.
func TestBucket(t *testing.T) {
	const perSecond, burst = 10, 20
	begun := time.Now()
	asking := func(everySecond int, seconds int) map[verdict]int {
		table := newBucketTable[string](perSecond, burst)
		got := make(map[verdict]int)
		for i := range everySecond * seconds {
			now := begun.Add(time.Duration(i) * time.Second / time.Duration(everySecond))
			spent := table.spent("p", now)
			v := table.take("p", now)
			require.Equal(t, v == drop, spent)
			got[v]++
		}
		return got
	}
	at := func(got map[verdict]int, seconds int) int { return got[serve] / seconds }

	require.Equal(t, map[verdict]int{serve: 600}, asking(perSecond, 60), "at the rate")
	got := asking(perSecond*5/4, 400)
	require.InDelta(t, perSecond, at(got, 400), 1, "a little over the rate")
	require.Zero(t, got[drop])
	got = asking(perSecond*5, 400)
	require.LessOrEqual(t, got[serve], burst*2, "far over the rate")
	require.Positive(t, got[drop])

	table := newBucketTable[string](perSecond, burst)
	for i := range burst {
		require.Equal(t, serve, table.take("p", begun), "request %d of the burst", i+1)
	}
	require.Equal(t, decline, table.take("p", begun), "one more")
	require.Equal(t, serve, table.take("another", begun), "which is nothing to others")
	require.Equal(t, serve, table.take("p", begun.Add(time.Second/perSecond*5/4)), "who waits is served")
}

func TestBucketWithoutLimit(t *testing.T) {
	table := newBucketTable[string](0, 0)
	for range 10_000 {
		require.Equal(t, serve, table.take("p", time.Now()))
	}
	require.Empty(t, table.fullAt)
	table.sweep(time.Now())
}

// TestBucketsAreForgotten: full ones at the next sweep, and some of them when there
// are too many.
func TestBucketsAreForgotten(t *testing.T) {
	begun := time.Now()
	table := newBucketTable[int](10, 20)
	for i := range maxBuckets + 1000 {
		table.take(i, begun)
	}
	require.Len(t, table.fullAt, maxBuckets)
	table.sweep(begun)
	require.Len(t, table.fullAt, maxBuckets, "those that are not full are kept")
	table.sweep(begun.Add(time.Second / 10))
	require.Empty(t, table.fullAt)
	require.Zero(t, table.peak, "and the map is a new one")
}

// TestSubnetShare: a thousand identities behind one address get what twenty peers do.
func TestSubnetShare(t *testing.T) {
	const perSecond, burst = 10, 20
	limit := newRequestLimit(perSecond, burst)
	now := time.Now()
	flood := func(at subnet, located bool) (served int) {
		for i := range 1000 {
			c := caller{peer: peer.ID(fmt.Sprint(at, i)), subnet: at, located: located}
			for range burst {
				if limit.take(&c, now) == serve {
					served++
				}
			}
		}
		return served
	}
	require.Equal(t, peersPerSubnet*burst, flood(1, true))
	require.True(t, limit.spent(&caller{peer: "a new one", subnet: 1, located: true}, now), "far beyond is not heard")
	require.Equal(t, serve, limit.take(&caller{peer: "elsewhere", subnet: 2, located: true}, now))
	require.Equal(t, 1000*burst, flood(3, false), "loopback is exempt")

	limit.sweep(now.Add(time.Minute))
	require.Empty(t, limit.peers.fullAt)
	require.Empty(t, limit.subnets.fullAt)
}

// book is a ledger at a time, with the names that tests have for registrations.
type book struct {
	*subnetLedger
	now time.Time
}

func newBook(limit int) *book {
	now := time.Now()
	return &book{newSubnetLedger(limit, now), now}
}

func (b *book) register(name string, at subnet, ttl time.Duration) error {
	key := b.key("n", peer.ID(name))
	c := caller{peer: peer.ID(name), subnet: at, located: true}
	until := b.now.Add(ttl)
	if _, err := b.reserve(&c, key, until, b.now); err != nil {
		return err
	}
	b.keep(&c, key, until)
	return nil
}

func TestLedger(t *testing.T) {
	const ttl = 20 * time.Second
	b := newBook(1000)
	for i := range 1000 {
		require.NoError(t, b.register(fmt.Sprint(i), 1, ttl))
	}
	require.ErrorIs(t, b.register("1001st", 1, ttl), errIPLimit)
	require.NoError(t, b.register("1001st", 2, ttl), "from elsewhere")
	require.NoError(t, b.register("7", 1, ttl), "a refresh")
	require.NoError(t, b.register("1001st", 1, ttl), "a refresh, by a peer that moved")
	require.Equal(t, map[subnet]int{1: 1000, 2: 1}, b.count, "which counts where there is room")
	require.NoError(t, b.register("7", 2, ttl))
	require.Equal(t, map[subnet]int{1: 999, 2: 2}, b.count, "and else where it is now")
	require.NoError(t, b.register("1001st", 1, ttl))

	b.now = b.now.Add(ttl - tickLength)
	require.NoError(t, b.register("0", 1, ttl), "it lives till then")
	require.ErrorIs(t, b.register("new", 1, ttl), errIPLimit)
	b.now = b.now.Add(tickLength)
	for i := range 999 {
		require.NoError(t, b.register(fmt.Sprint("new", i), 1, ttl), "those not refreshed are gone")
	}
	require.ErrorIs(t, b.register("1001st", 1, ttl), errIPLimit)
}

// TestLedgerForgets: what has ended takes no memory, without any traffic.
func TestLedgerForgets(t *testing.T) {
	b := newBook(100)
	for i := range 10_000 {
		require.NoError(t, b.register(fmt.Sprint(i), subnet(i/100), time.Second))
	}
	b.sweep(b.now.Add(time.Second))
	require.Empty(t, b.held)
	require.Empty(t, b.count)
	require.Empty(t, b.due)
	require.Zero(t, b.peak, "and the map is a new one")
}

// TestLedgerRelease: what was not made is not counted, however often it is tried.
func TestLedgerRelease(t *testing.T) {
	b := newBook(1)
	c := caller{subnet: 1, located: true}
	for range 3 {
		fresh, err := b.reserve(&c, 7, b.now.Add(time.Second), b.now)
		require.NoError(t, err)
		require.True(t, fresh)
		b.release(7)
	}
	require.NoError(t, b.register("a", 1, time.Second))
	b.now = b.now.Add(time.Second)
	require.NoError(t, b.register("b", 1, time.Second))
}

// TestLedgerLastPlace: many at the same time do not get in over the limit.
func TestLedgerLastPlace(t *testing.T) {
	const limit = 100
	b := newBook(limit)
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range 4 * limit {
		wg.Go(func() {
			if b.register(fmt.Sprint(i), 1, time.Minute) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, limit, in.Load())
}

// TestLedgerAgainstModel compares a ledger with the plainest thing that counts.
func TestLedgerAgainstModel(t *testing.T) {
	type held struct {
		at    subnet
		until time.Time
	}
	random := rand.New(rand.NewPCG(1, 2))
	b := newBook(5)
	model := make(map[string]held)
	count := func(at subnet) (n int) {
		for _, h := range model {
			if h.at == at {
				n++
			}
		}
		return n
	}
	for range 20_000 {
		b.now = b.now.Add(time.Duration(random.IntN(4)) * tickLength)
		for name, h := range model {
			if !b.now.Before(h.until) {
				delete(model, name)
			}
		}
		name, at := fmt.Sprint(random.IntN(40)), subnet(random.IntN(4))
		until := b.now.Add(time.Duration(1+random.IntN(50)) * tickLength)
		h, lives := model[name]
		full := count(at) >= 5
		err := b.register(name, at, until.Sub(b.now))
		require.Equal(t, full && !lives, err != nil)
		if err == nil {
			if !lives || h.at != at && !full {
				h.at = at
			}
			model[name] = held{h.at, until}
		}
		require.Len(t, b.held, len(model))
		for at := range subnet(4) {
			require.Equal(t, count(at), b.count[at])
		}
	}
}

func TestLedgerWithoutLimit(t *testing.T) {
	b := newBook(0)
	require.NoError(t, b.register("a", 1, time.Second))
	require.Empty(t, b.held)
}

// TestLimits: the protocol and the service get more streams than libp2p gives to
// what it does not know, one peer no more than it needs, and the rest is as it was.
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
		require.EqualValues(t, defaultBurst, one.StreamsInbound)
		require.LessOrEqual(t, int(one.StreamsInbound)*(requestMemory+discoverMemory/2), int(one.Memory))
	}
	for _, whole := range [][2]rcmgr.ResourceLimits{{without.System, with.System}, {without.Transient, with.Transient}} {
		require.Equal(t, with.Protocol[RendezvousID_v001].StreamsInbound, whole[1].StreamsInbound-whole[0].StreamsInbound, "what others have stays theirs")
		require.Equal(t, whole[0].Conns, whole[1].Conns)
	}
	require.Equal(t, without.ProtocolDefault, with.ProtocolDefault)
	require.Empty(t, rcmgr.DefaultLimits.ProtocolLimits, "libp2p's own are as they were")
}
