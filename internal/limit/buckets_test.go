package limit

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

const (
	testRate  = 10 // per second
	testBurst = 20
)

// newTestBudget returns a budget whose time begins at epoch.
func newTestBudget(perSecond, burst float64, epoch time.Time) *Budget {
	b := NewBudget(perSecond, burst)
	b.epoch = epoch
	return b
}

func nth(i int) peer.ID { return peer.ID(fmt.Sprint(i)) }

// TestBucketRates: requests at the rate are served, a little over the rate they still get
// the rate, and far over it they get nothing, not even an answer.
func TestBucketRates(t *testing.T) {
	begin := time.Now()
	count := func(perSecond, seconds int) map[Verdict]int {
		b := newTestBudget(testRate, testBurst, begin)
		got := make(map[Verdict]int)
		for i := range perSecond * seconds {
			now := begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			inDebt := b.InDebt("p", now)
			verdict := b.ChargePeer("p", Request, now)
			require.Equal(t, verdict == Drop, inDebt)
			got[verdict]++
		}
		return got
	}
	require.Equal(t, map[Verdict]int{Serve: 600}, count(testRate, 60))

	got := count(testRate*5/4, 400)
	require.InDelta(t, testRate, got[Serve]/400, 1)
	require.Zero(t, got[Drop])

	got = count(testRate*5, 400)
	require.LessOrEqual(t, got[Serve], 2*testBurst)
	require.Positive(t, got[Drop])
}

func TestBucketBurst(t *testing.T) {
	begin := time.Now()
	b := newTestBudget(testRate, testBurst, begin)
	for i := range testBurst {
		require.Equal(t, Serve, b.ChargePeer("p", Request, begin), "request %d of the burst", i+1)
	}
	require.Equal(t, Decline, b.ChargePeer("p", Request, begin), "one more")
	require.Equal(t, Serve, b.ChargePeer("another", Request, begin), "others have their own bucket")
	require.Equal(t, Serve, b.ChargePeer("p", Request, begin.Add(time.Second/testRate*5/4)), "after a token and the quarter that the declined request cost")
	for range 4 * testBurst {
		require.NotEqual(t, Serve, b.ChargePeer("p", Request, begin))
	}
	require.Equal(t, Drop, b.ChargePeer("p", Request, begin), "after a full bucket of debt")
	for range 1000 {
		b.ChargePeer("p", Request, begin)
	}
	require.Equal(t, Decline, b.ChargePeer("p", Request, begin.Add(time.Second)), "dropped requests cost nothing")
}

// TestBucketsAgainstModel compares with buckets that are filled step by step.
func TestBucketsAgainstModel(t *testing.T) {
	const token = int64(time.Second / testRate)
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Now()
	now := begin
	b := newTestBudget(testRate, testBurst, begin)
	level := make([]int64, 4) // of tokens, in nanoseconds
	for k := range level {
		level[k] = testBurst * token
	}
	for range 50_000 {
		passed := random.Int64N(token)
		now = now.Add(time.Duration(passed))
		for k := range level {
			level[k] = min(level[k]+passed, testBurst*token)
		}
		k := min(random.IntN(12), len(level)-1) // the last one is over its rate
		if random.IntN(100) == 0 {
			b.Sweep(now)
		}
		want := Drop
		switch {
		case level[k] >= token:
			level[k] -= token
			want = Serve
		case level[k] > -testBurst*token:
			level[k] -= token / 4
			want = Decline
		}
		require.Equal(t, want == Drop, b.InDebt(nth(k), now))
		require.Equal(t, want, b.ChargePeer(nth(k), Request, now))
	}
}

func TestBucketsWithoutLimit(t *testing.T) {
	b := newTestBudget(0, 0, time.Now())
	for range 10_000 {
		require.Equal(t, Serve, b.ChargePeer("p", Request, time.Now()))
	}
	require.False(t, b.InDebt("p", time.Now()))
	require.Empty(t, b.peers.fullAt.m)
	b.Sweep(time.Now())
}

// TestBucketsOfAnyRate: no rate overflows, and each serves a burst and no more at once.
func TestBucketsOfAnyRate(t *testing.T) {
	for _, perSecond := range []float64{math.SmallestNonzeroFloat64, 1e-9, 0.3, 1, 1e9, 1e12, math.MaxFloat64, math.Inf(1)} {
		for _, burst := range []float64{0, 1, 2, 1000, math.MaxInt32 * peersPerOrigin, math.MaxInt64, math.MaxFloat64} {
			name := fmt.Sprint(perSecond, " ", burst)
			begin := time.Now()
			b := newTestBudget(perSecond, burst, begin)
			require.Positive(t, b.perUnit, name)
			require.Positive(t, b.peers.fill, name)
			require.LessOrEqual(t, b.peers.fill, maxFill, name)
			served := 0
			for range 1000 {
				if b.ChargePeer("p", Request, begin) == Serve {
					served++
				}
			}
			require.Equal(t, int(min(1000, max(1, burst))), served, name)
		}
	}
}

// TestBucketsAreForgotten: full buckets are forgotten at the next sweep, and arbitrary
// ones if there are too many.
func TestBucketsAreForgotten(t *testing.T) {
	begin := time.Now()
	b := newTestBudget(testRate, testBurst, begin)
	for i := range maxBuckets + 1000 {
		b.ChargePeer(nth(i), Request, begin)
	}
	require.Len(t, b.peers.fullAt.m, maxBuckets)
	b.Sweep(begin)
	require.Len(t, b.peers.fullAt.m, maxBuckets, "those that are not full stay")
	b.Sweep(begin.Add(time.Second / testRate))
	require.Empty(t, b.peers.fullAt.m)
	require.Zero(t, b.peers.fullAt.peak, "the map is a new one")
}

// BenchmarkCharge charges peers and origins at random of as many as are remembered.
func BenchmarkCharge(b *testing.B) {
	origins := make([]Origin, maxBuckets)
	for i := range origins {
		origins[i] = originOf(fmt.Sprintf("/ip4/10.0.%d.%d", i/256, i%256))
	}
	networks := make([]Origin, maxBuckets)
	for i := range networks {
		networks[i] = originOf(fmt.Sprintf("/ip6/2001:db8:%x::1", i))
	}
	b.Run("peers", func(b *testing.B) { benchmarkCharge(b, []Origin{{}}) })
	b.Run("IPv4", func(b *testing.B) { benchmarkCharge(b, origins) })
	b.Run("IPv6", func(b *testing.B) { benchmarkCharge(b, networks) })
}

func benchmarkCharge(b *testing.B, origins []Origin) {
	peers := make([]peer.ID, maxBuckets)
	for i := range peers {
		id := make([]byte, 38)
		binary.BigEndian.PutUint64(id[30:], uint64(i))
		peers[i] = peer.ID(id)
	}
	now := time.Now()
	before := heapSize()
	budget := NewBudget(50, 100)
	for i, p := range peers {
		budget.Charge(p, origins[i%len(origins)], Request, now)
	}
	perKey := float64(heapSize()-before) / float64(len(peers))
	for b.Loop() {
		now = now.Add(time.Microsecond)
		i := rand.IntN(len(peers))
		budget.Charge(peers[i], origins[i%len(origins)], Request, now)
	}
	b.ReportMetric(perKey, "B/peer")
}

// heapSize returns how many bytes of the heap are in use.
func heapSize() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
