package registry

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// draws is how often a distribution is sampled.
const draws = 4000

// Each way of drawing is uniform, also beside registrations that have expired.
func TestSampleIsUniform(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, live, expired int }{
		{1, 2, 0},
		{1, 50, 0},
		{5, 50, 0},
		{24, 50, 0},
		{100, 300, 0}, // positions that do not fit on the stack
		{26, 50, 0},   // shuffled
		{45, 50, 0},
		{5, 50, 200},
		{5, 20, 1000}, // so few are live that pick gives up
		{20, 50, 70},
		{49, 50, 20},
	} {
		t.Run(fmt.Sprintf("%d of %d beside %d", test.n, test.live, test.expired), func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			f.registerPeers(t, "n", test.live, test.live+test.expired, second)
			f.registerPeers(t, "n", 0, test.live, 100*second)
			f.now += second
			counts := make(map[key]int)
			for range draws {
				got := f.Sample(nil, "n", test.n, 0, f.now)
				require.Len(t, got, test.n)
				for _, s := range got {
					counts[contentOf(s).key]++
				}
				if test.expired > 0 { // replace what was dropped
					f.registerPeers(t, "n", test.live, test.live+test.expired/50+1, 0)
				}
			}
			requireUniform(t, counts, test.live, draws, test.n)
			checkInvariants(t, f.Registry, f.now)
		})
	}
}

// The first few of a sample are a sample, too: each position is uniform.
func TestOrderIsUniform(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3, 4, 5, 8} {
		t.Run(fmt.Sprint(n, " of 8"), func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			f.registerPeers(t, "n", 0, 8, second)
			counts := make([]map[key]int, n)
			for i := range counts {
				counts[i] = make(map[key]int)
			}
			for range draws {
				for i, s := range f.Sample(nil, "n", n, 0, f.now) {
					counts[i][contentOf(s).key]++
				}
			}
			for _, c := range counts {
				requireUniform(t, c, 8, draws, 1)
			}
		})
	}
}

// All pairs are equally likely: no two come together too often.
func TestPairsAreUniform(t *testing.T) {
	t.Parallel()
	const live = 9
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprint(n, " of ", live), func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			f.registerPeers(t, "n", 0, live, second)
			counts := make(map[[2]string]int)
			for range draws {
				got := f.Sample(nil, "n", n, 0, f.now)
				a, b := string(got[0].Peer()), string(got[n-1].Peer())
				counts[[2]string{min(a, b), max(a, b)}]++
			}
			requireUniform(t, counts, live*(live-1)/2, draws, 1)
		})
	}
}

// Over all namespaces each registration counts the same, not each namespace.
func TestSampleOfAllIsUniform(t *testing.T) {
	f := newFixture()
	f.registerPeers(t, "large", 0, 20, second)
	f.registerPeers(t, "small", 0, 4, second)
	for i := range 16 {
		f.registerPeers(t, numbered(i), i, i+1, second)
	}
	counts := make(map[key]int)
	for range draws {
		for _, s := range f.Sample(nil, "", 5, 0, f.now) {
			counts[contentOf(s).key]++
		}
	}
	requireUniform(t, counts, 40, draws, 5)
}

// A sample stays uniform when some have been refreshed and others have expired.
func TestSampleIsUniformAfterChurn(t *testing.T) {
	const peers = 60
	f := newFixture()
	f.registerPeers(t, "n", 0, peers, second)
	for i := range peers {
		if i%3 != 0 {
			f.registerPeers(t, "n", i, i+1, 100*second)
		}
	}
	f.now += second
	for _, evicted := range []bool{false, true} {
		if evicted {
			f.now += tick
			f.evict()
		}
		counts := make(map[key]int)
		for range draws {
			for _, s := range f.Sample(nil, "n", 5, 0, f.now) {
				counts[contentOf(s).key]++
			}
		}
		requireUniform(t, counts, peers*2/3, draws, 5)
	}
}

func TestSampleSizes(t *testing.T) {
	const live = 200
	f := newFixture()
	f.registerPeers(t, "n", 0, live, second)
	for _, n := range []int{
		math.MinInt, -1, 0, 1, 2, 63, 64, 65, live/2 - 1, live / 2, live/2 + 1, live - 1, live, live + 1,
		math.MaxInt32, math.MaxInt,
	} {
		for _, namespace := range []string{"n", ""} {
			got := f.Sample(nil, namespace, n, 0, f.now)
			require.Len(t, got, min(max(n, 0), live))
			seen := make(map[key]bool)
			for _, s := range got {
				seen[contentOf(s).key] = true
			}
			require.Len(t, seen, len(got), "%d: one comes twice", n)
		}
	}
	checkInvariants(t, f.Registry, f.now)
}

// A pool in which almost all have expired drops them once, not with every sample.
func TestExpiredSlotsAreDropped(t *testing.T) {
	const expired, live = 10_000, 10
	f := newFixture()
	f.registerPeers(t, "n", 0, expired, second)
	f.registerPeers(t, "n", expired, expired+live, 10*second)
	f.now += second
	require.Len(t, f.Sample(nil, "n", 50, 0, f.now), live)
	require.Len(t, f.namespaces.get("n").pool.slots, live)
	require.Len(t, f.Sample(nil, "", 2*expired, 0, f.now), live, "shuffled")
	require.Len(t, f.all.slots, live)
	require.Equal(t, expired+live, f.Len(), "they are not evicted")
	checkInvariants(t, f.Registry, f.now)

	f.registerPeers(t, "n", 0, 5, 10*second) // some register again
	require.Len(t, f.Sample(nil, "n", 50, 0, f.now), live+5)
	f.now += tick
	f.evict()
	require.Equal(t, live+5, f.Len())
	require.EqualValues(t, expired, f.Expired())
	checkInvariants(t, f.Registry, f.now)
}

// requireUniform checks how often each outcome was drawn in a number of trials that drew n
// of them each. If the draws are uniform, it fails once in a million times.
func requireUniform[K comparable](t *testing.T, counts map[K]int, outcomes, trials, n int) {
	t.Helper()
	require.LessOrEqual(t, len(counts), outcomes, "outcomes that should not be")
	all, k := float64(outcomes), float64(n)
	expected := float64(trials) * k / all
	// With the variance of how often one is drawn, times all/(all-1), the sum of
	// squares is chi-square distributed with all-1 degrees of freedom.
	variance := float64(trials) * k / all * (all - k) / (all - 1)
	square := float64(outcomes-len(counts)) * expected * expected / variance
	for _, c := range counts {
		square += (float64(c) - expected) * (float64(c) - expected) / variance
	}
	// Wilson and Hilferty: its cube root is about normal.
	degrees := all - 1
	v := 2 / (9 * degrees)
	z := (math.Cbrt(square/degrees) - (1 - v)) / math.Sqrt(v)
	require.Less(t, z, 4.75, "chi-square %.0f over %d outcomes: %v", square, outcomes, counts)
}

// A sample with a bound of bytes is the beginning of one without, and so is uniform, too.
func TestSampleOfBytesIsUniform(t *testing.T) {
	const live, most = 20, 3
	f := newFixture()
	f.registerPeers(t, "n", 0, live, second)
	for _, namespace := range []string{"n", ""} {
		for _, n := range []int{5, live} { // picked, and shuffled
			counts := make(map[key]int)
			for range draws {
				got := f.Sample(nil, namespace, n, most*len("n"), f.now)
				require.Len(t, got, most)
				for _, s := range got {
					counts[contentOf(s).key]++
				}
			}
			requireUniform(t, counts, live, draws, most)
		}
	}
}

func TestSampleBytes(t *testing.T) {
	f := newFixture()
	for i := range 10 {
		require.NoError(t, f.register("name", numberedPeer(i), "envelope", second, unlimited))
	}
	const each = len("name") + len("envelope")
	for _, namespace := range []string{"name", ""} {
		for maxBytes, want := range map[int]int{
			0: 10, 1: 0, each - 1: 0, each: 1, 2*each - 1: 1, 2 * each: 2, 10*each - 1: 9, 10 * each: 10, math.MaxInt: 10,
		} {
			dst := make([]Slot, 1, 20)
			got := f.Sample(dst, namespace, 10, maxBytes, f.now)
			require.Len(t, got[1:], want, "%d bytes", maxBytes)
			require.Zero(t, got[0], "what was in dst")
			for _, s := range got[len(got):cap(got)] {
				require.Zero(t, s, "an unused slot holds on to memory")
			}
		}
	}
}
