package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// There is one or two of each of these for each registration. One word more would put it
// into the allocator's next size class.
func TestSizes(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(registration{}), uintptr(64))
	require.LessOrEqual(t, unsafe.Sizeof(registrant{}), uintptr(112))
	require.LessOrEqual(t, unsafe.Sizeof(namespace{}), uintptr(64))
	require.LessOrEqual(t, unsafe.Sizeof(Slot{}), uintptr(32))
	require.LessOrEqual(t, unsafe.Sizeof(Place{}), uintptr(64))
}

func TestAllocations(t *testing.T) {
	f := newFixture()
	f.registerPeers(t, "n", 0, 5000, second)
	e := Entry{Namespace: "n", Peer: numberedPeer(7), Envelope: []byte("envelope")}
	refresh := func() {
		e.Deadline = f.now + second
		a, err := f.Admit(&e, Quota{PerPeer: 10, PerOrigin: 10, Total: 10_000, Bytes: 1 << 30}, f.now)
		if a.refreshes == nil || err != nil {
			t.Errorf("Admit: %v, %v, want a refresh", a, err)
		}
		f.Put(a, &e)
	}
	refresh()
	require.Zero(t, testing.AllocsPerRun(100, refresh), "a refresh with the same envelope")
	dst := make([]Slot, 0, 5000)
	for n, want := range map[int]float64{10: 0, 64: 0, 1000: 1, 4000: 0} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { f.Sample(dst, "n", n, 0, f.now) }), want, "Sample of %d", n)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		f.now++
		f.Evict(f.now, 100)
	}), "Evict")
}

// Drawing a few costs about the same from many. Cache misses make a difference; a scan
// would make one of a hundred times.
func TestCostOfSample(t *testing.T) {
	fastest := func(live int) time.Duration {
		f := newFixture()
		f.registerPeers(t, "n", 0, live, second)
		var times []time.Duration
		dst := make([]Slot, 0, 50)
		for range 200 {
			begun := time.Now()
			f.Sample(dst, "n", 50, 0, f.now)
			times = append(times, time.Since(begun))
		}
		return slices.Min(times)
	}
	require.Less(t, float64(fastest(50_000))/float64(fastest(500)), 25.0)
}

// A page costs about the same from many, wherever it begins, also if half of them were
// refreshed in random order just now, and if another half has expired and is not evicted. A
// walk over what was refreshed or expired would make a difference of a hundred times.
func TestCostOfPage(t *testing.T) {
	fastest := func(live int) time.Duration {
		f := newFixture()
		f.registerPeers(t, "n", 0, live, 10*second)
		f.Order(1, 1)
		for _, i := range rand.Perm(live)[:live/2] {
			f.registerPeers(t, "n", i, i+1, 10*second)
		}
		for i := range live {
			require.NoError(t, f.register("m", numberedPeer(i), "", 1, unlimited))
		}
		f.now++
		var times []time.Duration
		dst, cursor := make([]*Place, 0, 50), ""
		for range 200 {
			var err error
			begun := time.Now()
			dst, cursor, err = f.Page(dst[:0], "n", usual, cursor, 50, 0, f.now)
			took := time.Since(begun)
			require.NoError(t, err)
			if len(dst) < 50 { // that was the empty page at the end
				cursor = ""
				continue
			}
			times = append(times, took)
		}
		return slices.Min(times)
	}
	require.Less(t, float64(fastest(50_000))/float64(fastest(500)), 25.0)
}

func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, now := full(n), second
			for i := 0; b.Loop(); i++ {
				now++
				e := benchmarkEntry(i%n, now+20*second)
				a, _ := x.Admit(&e, Quota{PerPeer: 1000, PerOrigin: 1000, Total: 2 * n, Bytes: 1 << 40}, now)
				x.Put(a, &e)
			}
		})
	}
}

func BenchmarkSample(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		x, dst := full(n), make([]Slot, 0, 1000)
		for _, k := range []int{10, 50, 1000} {
			b.Run(fmt.Sprintf("%d of %d", k, n), func(b *testing.B) {
				for b.Loop() {
					dst = x.Sample(dst[:0], "n", k, 0, second)
				}
			})
		}
	}
}

func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		x, dst := full(n), make([]*Place, 0, 1000)
		x.Order(1, 1)
		b.Run(fmt.Sprintf("1000 of %d", n), func(b *testing.B) {
			cursor, left := "", n // full pages only: the one after the last registration costs nothing
			for b.Loop() {
				if left == 0 {
					cursor, left = "", n
				}
				dst, cursor, _ = x.Page(dst[:0], "n", usual, cursor, 1000, 0, second)
				left -= 1000
			}
		})
	}
}

// BenchmarkChurn adds registrations that are never refreshed, and evicts as many.
func BenchmarkChurn(b *testing.B) {
	const n = 100_000
	x, now := full(n), second
	for i := 0; b.Loop(); i++ {
		now += 20 * second / n
		e := benchmarkEntry(n+i, now+20*second)
		x.Put(Admission{Origin: e.Origin}, &e)
		x.Evict(now, 2)
	}
}

// full returns a registry with n registrations.
func full(n int) *Registry {
	x := New(nil)
	for i := range n {
		e := benchmarkEntry(i, 20*second+int64(i))
		x.Put(Admission{Origin: e.Origin}, &e)
	}
	return x
}

// benchmarkEntry returns an entry with an envelope of the usual size, and with an origin that
// few others have.
func benchmarkEntry(i int, deadline int64) Entry {
	return Entry{
		Namespace: "n", Peer: numberedPeer(i), Envelope: make([]byte, 224),
		Deadline: deadline, Origin: ipv4 + Origin(i/4),
	}
}
