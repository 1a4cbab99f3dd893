package limit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

var (
	home = originOf("/ip4/192.0.2.1/tcp/1")
	away = originOf("/ip4/192.0.2.2/tcp/1")
)

// clocked are Registrations at a time that a test sets.
type clocked struct {
	*Registrations
	now time.Time
}

func newClocked(perOrigin int) *clocked {
	now := time.Now()
	return &clocked{NewRegistrations(perOrigin, now), now}
}

// register makes a registration of a peer in a namespace.
func (c *clocked) register(p string, o Origin, ttl time.Duration) error {
	place, err := c.Reserve(o, "n", peer.ID(p), c.now.Add(ttl), c.now)
	if err == nil {
		c.Confirm(place)
	}
	return err
}

// counted returns how many registrations count for an origin.
func (c *clocked) counted(o Origin) int {
	if at := c.counts.m[o]; at != nil {
		return at.n
	}
	return 0
}

func TestRegistrations(t *testing.T) {
	const ttl = 20 * time.Second
	c := newClocked(1000)
	for i := range 1000 {
		require.NoError(t, c.register(fmt.Sprint(i), home, ttl))
	}
	require.ErrorIs(t, c.register("new", home, ttl), ErrOriginLimit)
	require.NoError(t, c.register("new", away, ttl))
	require.NoError(t, c.register("7", home, ttl), "a refresh")
	require.NoError(t, c.register("new", home, ttl), "a refresh by a peer that moved")
	require.Equal(t, 1000, c.counted(home))
	require.Equal(t, 1, c.counted(away), "a refresh counts at the new address if that has room, and at the old one if not")
	require.NoError(t, c.register("7", away, ttl))
	require.Equal(t, 999, c.counted(home))
	require.Equal(t, 2, c.counted(away))
	require.NoError(t, c.register("new", home, ttl))

	c.now = c.now.Add(ttl - tickLength)
	require.NoError(t, c.register("0", home, ttl))
	require.ErrorIs(t, c.register("newer", home, ttl), ErrOriginLimit)
	c.now = c.now.Add(tickLength)
	for i := range 999 {
		require.NoError(t, c.register(fmt.Sprint("new", i), home, ttl), "in the place of one that was not refreshed")
	}
	require.ErrorIs(t, c.register("newest", home, ttl), ErrOriginLimit)
}

// TestRegistrationsUseNoMemoryAfterwards: what has ended is freed without any traffic.
func TestRegistrationsUseNoMemoryAfterwards(t *testing.T) {
	c := newClocked(100)
	for i := range 10_000 {
		require.NoError(t, c.register(fmt.Sprint(i), originOf(fmt.Sprintf("/ip4/10.0.0.%d", i/100)), time.Second))
	}
	c.Sweep(c.now.Add(time.Second))
	require.Empty(t, c.live.m)
	require.Empty(t, c.counts.m)
	require.Empty(t, c.ending.m)
	require.Zero(t, c.live.peak, "the map is a new one")
}

// TestRelease: a registration that was not stored does not count, however often it is tried.
func TestRelease(t *testing.T) {
	c := newClocked(1)
	for range 3 {
		place, err := c.Reserve(home, "n", "a", c.now.Add(time.Second), c.now)
		require.NoError(t, err)
		require.ErrorIs(t, c.register("b", home, time.Second), ErrOriginLimit)
		c.Release(place)
	}
	require.NoError(t, c.register("b", home, time.Second))
	refresh, err := c.Reserve(home, "n", "b", c.now.Add(time.Hour), c.now)
	require.NoError(t, err)
	c.Release(refresh)
	require.ErrorIs(t, c.register("a", home, time.Second), ErrOriginLimit, "a refresh that failed leaves the registration as it was")
	c.now = c.now.Add(time.Second)
	require.NoError(t, c.register("a", home, time.Second))
}

// TestReserveTwice: two streams make the same registration at the same time, and one fails.
func TestReserveTwice(t *testing.T) {
	for _, firstFails := range []bool{true, false} {
		for _, failsFirst := range []bool{true, false} {
			c := newClocked(1)
			first, err := c.Reserve(home, "n", "a", c.now.Add(time.Second), c.now)
			require.NoError(t, err)
			second, err := c.Reserve(home, "n", "a", c.now.Add(time.Second), c.now)
			require.NoError(t, err)
			stored, failed := first, second
			if firstFails {
				stored, failed = second, first
			}
			if failsFirst {
				c.Release(failed)
				c.Confirm(stored)
			} else {
				c.Confirm(stored)
				c.Release(failed)
			}
			require.ErrorIs(t, c.register("b", home, time.Second), ErrOriginLimit)
			require.Equal(t, 1, c.counted(home))
		}
	}
}

// TestSlowConfirm: a registration that ends while it is being stored is forgotten, too.
func TestSlowConfirm(t *testing.T) {
	for _, refresh := range []bool{false, true} {
		c := newClocked(10)
		if refresh {
			require.NoError(t, c.register("a", home, time.Minute))
		}
		place, err := c.Reserve(home, "n", "a", c.now.Add(time.Second), c.now)
		require.NoError(t, err)
		c.now = c.now.Add(2 * time.Second)
		c.Sweep(c.now)
		c.Confirm(place)
		require.Equal(t, 1, c.counted(home))
		c.Sweep(c.now.Add(tickLength))
		require.Zero(t, c.counted(home))
	}
}

// TestLastPlace: of many at the same time, no more get in than there are places.
func TestLastPlace(t *testing.T) {
	const limit = 100
	c := newClocked(limit)
	var registered atomic.Int32
	var all sync.WaitGroup
	for i := range 4 * limit {
		all.Go(func() {
			if c.register(fmt.Sprint(i), home, time.Minute) == nil {
				registered.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, limit, registered.Load())
}

// TestAnyTime: no time overflows or takes long.
func TestAnyTime(t *testing.T) {
	c := newClocked(1)
	far, before := c.now.Add(1<<63-1), c.now.Add(-time.Hour)
	for _, deadline := range []time.Time{{}, before, c.now, far, far.Add(1<<63 - 1)} {
		place, err := c.Reserve(home, "n", "a", deadline, c.now)
		require.NoError(t, err)
		c.Confirm(place)
		require.ErrorIs(t, c.register("b", home, time.Second), ErrOriginLimit)
	}
	c.Sweep(before)
	c.Sweep(time.Time{})
	require.Equal(t, 1, c.counted(home))
}

func TestRegistrationsWithoutLimit(t *testing.T) {
	c := newClocked(0)
	require.NoError(t, c.register("a", home, time.Second))
	require.Empty(t, c.live.m)
	c = newClocked(1)
	for i := range 10 {
		require.NoError(t, c.register(fmt.Sprint(i), Origin{}, time.Second))
	}
	require.Empty(t, c.live.m)
	c.Release(Place{})
}

// TestRegistrationsAgainstModel compares with a model that counts one by one. Requests
// overlap: many places are reserved before they are confirmed or released.
func TestRegistrationsAgainstModel(t *testing.T) {
	const limit = 5
	type modelled struct {
		at    Origin
		until time.Time
	}
	random := rand.New(rand.NewPCG(1, 2))
	origins := []Origin{home, away, originOf("/ip6/2001:db8::1"), originOf("/ip6/2001:db8:0:1::1")}
	c := newClocked(limit)
	model := make(map[string]modelled)
	count := func(at Origin) (n int) {
		for _, m := range model {
			if m.at == at {
				n++
			}
		}
		return n
	}
	for range 20_000 {
		c.now = c.now.Add(time.Duration(random.IntN(4)) * tickLength)
		for name, m := range model {
			if !c.now.Before(m.until) {
				delete(model, name)
			}
		}
		name, at := fmt.Sprint(random.IntN(40)), origins[random.IntN(len(origins))]
		until := c.now.Add(time.Duration(1+random.IntN(50)) * tickLength)
		before, lives := model[name]
		full := count(at) >= limit
		place, err := c.Reserve(at, "n", peer.ID(name), until, c.now)
		require.Equal(t, full && !lives, err != nil)
		if err == nil && random.IntN(4) == 0 {
			c.Release(place)
		} else if err == nil {
			c.Confirm(place)
			if lives && full {
				at = before.at
			}
			model[name] = modelled{at, until}
		}
		require.Len(t, c.live.m, len(model))
		for _, o := range origins {
			require.Equal(t, count(o), c.counted(o))
		}
	}
}

// TestOverlappingRegistrations: whatever overlaps in whatever order, the counts are those
// of what lives, no origin has many more than its limit, and nothing is left at the end.
func TestOverlappingRegistrations(t *testing.T) {
	const limit, inFlight = 5, 8
	random := rand.New(rand.NewPCG(3, 4))
	c := newClocked(limit)
	var open []Place
	for range 50_000 {
		c.now = c.now.Add(time.Duration(random.IntN(3)) * tickLength / 2)
		if len(open) < inFlight {
			until := c.now.Add(time.Duration(random.IntN(30)) * tickLength)
			at := []Origin{home, away}[random.IntN(2)]
			if place, err := c.Reserve(at, "n", peer.ID(fmt.Sprint(random.IntN(20))), until, c.now); err == nil {
				open = append(open, place)
			}
		}
		if len(open) > 0 && random.IntN(2) == 0 {
			i := random.IntN(len(open))
			if random.IntN(3) == 0 {
				c.Release(open[i])
			} else {
				c.Confirm(open[i])
			}
			open = slices.Delete(open, i, i+1)
		}
		counted := make(map[*count]int)
		for _, g := range c.live.m {
			counted[g.count]++
		}
		require.Len(t, c.counts.m, len(counted))
		for at, n := range counted {
			require.Equal(t, n, at.n)
			require.Same(t, at, c.counts.m[at.origin])
			require.LessOrEqual(t, n, limit+inFlight)
		}
	}
	for _, place := range open {
		c.Release(place)
	}
	c.Sweep(c.now.Add(time.Minute))
	require.Empty(t, c.live.m)
	require.Empty(t, c.reserved)
	require.Empty(t, c.counts.m)
	require.Empty(t, c.ending.m)
}

// BenchmarkRegistrations refreshes registrations at random. Each of 10,000 origins has ten.
func BenchmarkRegistrations(b *testing.B) {
	const registrations, perOrigin, ttl = 100_000, 10, 20 * time.Second
	now := time.Now()
	before := heapSize()
	r := NewRegistrations(perOrigin, now)
	origins := make([]Origin, registrations/perOrigin)
	for i := range origins {
		origins[i] = originOf(fmt.Sprintf("/ip4/10.0.%d.%d", i/256, i%256))
	}
	register := func(i int) error {
		id := make([]byte, 38)
		binary.BigEndian.PutUint64(id[30:], uint64(i))
		place, err := r.Reserve(origins[i/perOrigin], "n", peer.ID(id), now.Add(ttl), now)
		r.Confirm(place)
		return err
	}
	for i := range registrations {
		now = now.Add(100 * time.Microsecond)
		require.NoError(b, register(i))
	}
	perRegistration := float64(heapSize()-before) / registrations
	for b.Loop() {
		now = now.Add(100 * time.Microsecond)
		if err := register(rand.IntN(registrations)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(perRegistration, "B/registration")
}
