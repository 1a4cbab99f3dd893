package limit

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// at4 and at6 return the origins of an IPv4 address and of a /64 in an IPv6 /48.
func at4(n int) Origin {
	return OriginAt(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))
}

func at6(n, subnet int) Origin {
	return OriginAt(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", n, subnet&0xffff)))
}

func TestRecent(t *testing.T) {
	r, now := NewRecent(0, 0), time.Now()
	lookup := func(ns, p, envelope string, at time.Time) [2]bool {
		verified, left, _ := r.Lookup(ns, nth(len(p)), []byte(envelope), at)
		return [2]bool{verified, left > 0}
	}
	require.Equal(t, [2]bool{}, lookup("n", "p", "e", now))
	r.Add("n", nth(1), []byte("e"), Origin{}, now.Add(time.Second), now)
	require.Equal(t, [2]bool{true, true}, lookup("n", "p", "e", now))
	require.Equal(t, [2]bool{true, false}, lookup("m", "p", "e", now), "another namespace")
	require.Equal(t, [2]bool{}, lookup("n", "p", "f", now), "another envelope")
	require.Equal(t, [2]bool{}, lookup("n", "pp", "e", now), "another peer")
	require.Equal(t, [2]bool{}, lookup("n", "p", "e", now.Add(time.Second)), "it has ended")
	r.Add("n", nth(1), []byte("e"), Origin{}, now.Add(time.Minute), now.Add(time.Second))
	_, _, age := r.Lookup("n", nth(1), []byte("e"), now.Add(3*time.Second))
	require.Equal(t, 2*time.Second, age)
	require.Equal(t, 59*time.Second, r.Left("n", nth(1), now.Add(time.Second)))
	require.LessOrEqual(t, r.Left("m", nth(1), now), time.Duration(0))
	r.Add("n", nth(1), []byte("f"), Origin{}, now.Add(time.Minute), now.Add(time.Second))
	require.Equal(t, [2]bool{true, false}, lookup("n", "p", "e", now), "it was replaced")
	require.Equal(t, [2]bool{true, true}, lookup("n", "p", "f", now))
	r.Forget("n", nth(1))
	require.Equal(t, [2]bool{true, false}, lookup("n", "p", "f", now))
	r.Add("n", nth(1), []byte("f"), at4(1), now.Add(time.Minute), now)
	r.Sweep(now.Add(time.Minute))
	require.Empty(t, r.registered.m)
	require.Empty(t, r.subnets.m)
	require.Empty(t, r.verified.young)
	require.Empty(t, r.verified.old)
}

// TestRecentShortened: the last registration in a namespace decides how long it is live
// there, also if it ends sooner than the one before. The envelope stays verified.
func TestRecentShortened(t *testing.T) {
	r, now := NewRecent(0, 0), time.Now()
	r.Add("n", "p", []byte("e"), Origin{}, now.Add(time.Minute), now)
	for i := range maxVerified { // the first one is in the old generation now
		r.Add("n", nth(i), nil, Origin{}, now.Add(time.Minute), now)
	}
	r.Add("n", "p", []byte("e"), Origin{}, now.Add(time.Second), now)
	verified, left, _ := r.Lookup("n", "p", []byte("e"), now)
	require.True(t, verified)
	require.Equal(t, time.Second, left)
	r.Sweep(now.Add(time.Second))
	verified, left, _ = r.Lookup("n", "p", []byte("e"), now.Add(time.Second))
	require.True(t, verified)
	require.LessOrEqual(t, left, time.Duration(0))
}

// TestRecentOfAll: all registrations that a point may have are remembered, in whatever order
// they are refreshed. More are not, and none is forgotten for them.
func TestRecentOfAll(t *testing.T) {
	const total = 100_000
	r, now := NewRecent(total, 1000), time.Now()
	add := func(i int) { r.Add("n", nth(i), []byte("e"), at4(i), now.Add(time.Minute), now) }
	for i := range total + total/10 {
		add(i)
	}
	for i := range total {
		verified, left, _ := r.Lookup("n", nth(i), []byte("e"), now)
		require.True(t, verified)
		require.Positive(t, left)
	}
	require.Len(t, r.registered.m, total)
	_, left, _ := r.Lookup("n", nth(total), []byte("e"), now)
	require.LessOrEqual(t, left, time.Duration(0))
	r.Forget("n", nth(0))
	add(total)
	_, left, _ = r.Lookup("n", nth(total), []byte("e"), now)
	require.Positive(t, left)
}

// TestRecentOfOthers: a network that registers as much as it can, always with new envelopes,
// and that ends its registrations elsewhere, makes the cache forget none of the others.
func TestRecentOfOthers(t *testing.T) {
	const total, perOrigin, honest = 20_000, 100, 10_000
	r, now := NewRecent(total, perOrigin), time.Now()
	for i := range honest {
		r.Add("n", nth(i), []byte("e"), at4(i), now.Add(time.Minute), now)
	}
	for i := range 3 * total {
		p, envelope := peer.ID(fmt.Sprint("hostile ", i%320)), []byte(strconv.Itoa(i))
		r.Add("n", p, envelope, at6(1, i), now.Add(time.Hour), now)                              // again and again
		r.Add(strconv.Itoa(i), p, envelope, at6(2, i), now.Add(time.Hour), now)                  // for hours
		r.Add(strconv.Itoa(i), "neighbour", envelope, at4(honest), now.Add(time.Hour), now)      // at one address
		r.Add("n", "neighbour of "+p, envelope, at4(honest+1+i%1000), now.Add(time.Minute), now) // at many
	}
	for i := range honest {
		_, left, _ := r.Lookup("n", nth(i), []byte("e"), now)
		require.Positive(t, left)
	}
	require.Equal(t, 320, r.subnets.m[at6(1, 0).subnet()])
	require.Equal(t, 2*16*perOrigin, r.subnets.m[at6(2, 0).subnet()])
	require.Equal(t, 2*perOrigin, r.subnets.m[at4(honest).subnet()])

	r.Add("n", nth(0), []byte("e"), at4(honest), now.Add(2*time.Minute), now)
	require.Equal(t, 2*time.Minute, r.Left("n", nth(0), now), "there is no room where the peer has moved to, and it is remembered")
	r.Add("n", nth(0), []byte("e"), at4(1), now.Add(time.Minute), now)
	require.Equal(t, 2, r.subnets.m[at4(1).subnet()])
	require.NotContains(t, r.subnets.m, at4(0).subnet())
	r.Sweep(now.Add(time.Hour))
	require.Empty(t, r.registered.m)
	require.Empty(t, r.subnets.m)
}

// TestRecentDuringSweep: others use the cache while a sweep goes on.
func TestRecentDuringSweep(t *testing.T) {
	const n, kept = 10 * sweepBatch, 3 * sweepBatch
	r, now := NewRecent(0, 0), time.Now()
	for i := range n {
		r.Add("n", nth(i), nil, at4(i), now.Add(time.Second), now)
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { r.Sweep(now.Add(time.Second)) })
	}
	for i := range kept {
		r.Add("n", nth(i), nil, at4(i), now.Add(time.Minute), now.Add(time.Second))
	}
	all.Wait()
	r.Sweep(now.Add(time.Second))
	require.Len(t, r.registered.m, kept)
	require.Len(t, r.subnets.m, kept)
}

// BenchmarkRecentMemory measures the memory of a million registrations, of as many peers at
// as many addresses.
func BenchmarkRecentMemory(b *testing.B) {
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before, now := heap(), time.Now()
		r := NewRecent(n, 1000)
		for i := range n {
			r.Add("n", nth(i), nil, at4(i), now.Add(time.Minute), now)
		}
		b.ReportMetric(float64(heap()-before)/n, "bytes/registration")
		begun := time.Now()
		r.Sweep(now)
		b.ReportMetric(float64(time.Since(begun).Milliseconds()), "ms/sweep")
		runtime.KeepAlive(r)
	}
}
