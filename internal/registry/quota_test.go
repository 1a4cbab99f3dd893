package registry

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// Each network may have a multiple of what one address may have.
func TestOriginLimits(t *testing.T) {
	for _, limit := range []int{1, 3} {
		q := Quota{PerOrigin: limit}
		for _, test := range []struct {
			network string
			most    int
			addr    func(i int) string // those in the network, as wide apart as it is
			outside string
		}{
			{"/32", limit, func(int) string { return "192.0.2.1" }, "192.0.2.2"},
			{"/32, mapped", limit, func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] }, "192.0.2.0"},
			{"/64", limit, func(i int) string { return fmt.Sprintf("2001:db8:1:1::%d", i) }, "2001:db8:1:2::1"},
			{"/56", 4 * limit, func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, "2001:db8:1:100::1"},
			{"/48", 16 * limit, func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i<<8) }, "2001:db8:2::1"},
		} {
			t.Run(fmt.Sprint(test.network, " with ", limit), func(t *testing.T) {
				f := newFixture()
				for i := range test.most {
					require.NoError(t, f.registerFrom(test.addr(i), "n", numberedPeer(i), second+int64(i), q))
				}
				require.ErrorIs(t, f.registerFrom(test.addr(test.most), "n", "over", second, q), ErrOriginLimit)
				require.NoError(t, f.registerFrom(test.outside, "n", "outside", second, q))
				require.NoError(t, f.register("n", "nowhere", "", second, q))
				checkInvariants(t, f.Registry, f.now)
				f.now += second - 1
				require.ErrorIs(t, f.registerFrom(test.addr(0), "n", "over", second, q), ErrOriginLimit)
				f.now++ // the first one expires, and is not evicted
				require.NoError(t, f.registerFrom(test.addr(0), "n", "over", second, q))
				require.ErrorIs(t, f.registerFrom(test.addr(0), "n", "another", second, q), ErrOriginLimit)
				checkInvariants(t, f.Registry, f.now)
			})
		}
	}
}

func TestLargeLimitsDoNotOverflow(t *testing.T) {
	f := newFixture()
	q := Quota{PerPeer: math.MaxInt, PerOrigin: math.MaxInt, Total: math.MaxInt, Bytes: math.MaxInt64}
	for i := range 40 {
		require.NoError(t, f.registerFrom("2001:db8::1", "n", numberedPeer(i), second, q))
	}
}

// A refresh counts where it comes from, or else where it counted before.
func TestRefreshFromAnotherOrigin(t *testing.T) {
	const a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	f, q := newFixture(), Quota{PerOrigin: 1}
	require.NoError(t, f.registerFrom(a, "n", "p", 10*second, q))
	require.NoError(t, f.registerFrom(b, "n", "q", 5*second, q))
	require.NoError(t, f.registerFrom(b, "n", "p", 10*second, q), "where there is no room")
	require.ErrorIs(t, f.registerFrom(a, "n", "r", second, q), ErrOriginLimit, "it still counts there")
	require.NoError(t, f.registerFrom(c, "n", "p", 10*second, q), "where there is room")
	require.NoError(t, f.registerFrom(a, "n", "r", second, q), "it no longer counts there")
	require.ErrorIs(t, f.registerFrom(c, "n", "s", second, q), ErrOriginLimit)
	checkInvariants(t, f.Registry, f.now)

	f.now += 5 * second // that from b expires, and is not evicted
	require.NoError(t, f.registerFrom(b, "n", "p", 10*second, q))
	require.NoError(t, f.registerFrom(c, "n", "s", second, q), "what moved no longer counts there")
	require.NoError(t, f.register("n", "p", "", 10*second, q), "from nowhere")
	require.NoError(t, f.registerFrom(b, "n", "t", second, q))
	checkInvariants(t, f.Registry, f.now)
}

// A refresh within a wide network that is full needs no room in it.
func TestRefreshWithinANetwork(t *testing.T) {
	f, q := newFixture(), Quota{PerOrigin: 1}
	for i := range 4 {
		require.NoError(t, f.registerFrom(fmt.Sprintf("2001:db8:1:%x::", i), "n", numberedPeer(i), second, q))
	}
	require.NoError(t, f.registerFrom("2001:db8:1:9::", "n", numberedPeer(0), second, q))
	require.Equal(t, "2001:db8:1:9::", f.origin("n", numberedPeer(0)))
	require.ErrorIs(t, f.registerFrom("2001:db8:1::", "n", "p", second, q), ErrOriginLimit, "the /56 is full")
	require.NoError(t, f.registerFrom("2001:db8:1:1::", "n", numberedPeer(0), second, q))
	require.NoError(t, f.registerFrom("192.0.2.1", "n", numberedPeer(0), second, q))
	require.NoError(t, f.registerFrom("2001:db8:1:9::", "n", "p", second, q), "the /64 was left before")
	require.ErrorIs(t, f.registerFrom("2001:db8:1:a::", "n", "q", second, q), ErrOriginLimit)
	checkInvariants(t, f.Registry, f.now)
}

func TestRefreshWithinAWiderNetwork(t *testing.T) {
	f, q := newFixture(), Quota{PerOrigin: 1}
	for i := range 16 {
		require.NoError(t, f.registerFrom(fmt.Sprintf("2001:db8:1:%x::", i<<8), "n", numberedPeer(i), second, q))
	}
	require.NoError(t, f.registerFrom("2001:db8:1:9900::", "n", numberedPeer(0), second, q))
	require.Equal(t, "2001:db8:1:9900::", f.origin("n", numberedPeer(0)))
	require.ErrorIs(t, f.registerFrom("2001:db8:1::", "n", "p", second, q), ErrOriginLimit, "the /48 is full")
	require.NoError(t, f.registerFrom("2001:db8:1::", "n", numberedPeer(0), second, q))
	require.ErrorIs(t, f.registerFrom("2001:db8:1::", "n", "p", second, q), ErrOriginLimit)
	require.NoError(t, f.registerFrom("2001:db8:2::", "n", numberedPeer(0), second, q))
	require.NoError(t, f.registerFrom("2001:db8:1:9900::", "n", "p", second, q), "the /56 was left before")
	checkInvariants(t, f.Registry, f.now)
}

func TestBytesCountWhatIsLive(t *testing.T) {
	const each = len("n") + len("p") + len("envelope")
	f, q := newFixture(), Quota{Bytes: 3 * int64(each)}
	for i, p := range []peer.ID{"a", "b", "c"} {
		require.NoError(t, f.register("n", p, "envelope", second+int64(i), q))
	}
	require.EqualValues(t, 3*each, f.Bytes())
	require.ErrorIs(t, f.register("n", "d", "", second, q), ErrFull)
	f.now += second
	require.Len(t, f.Sample(nil, "", 3, 0, f.now), 2, "this drops one that has expired")
	require.ErrorIs(t, f.register("n", "d", "envelopes", second, q), ErrFull, "a byte too many")
	require.NoError(t, f.register("n", "d", "envelope", second, q))
	require.NoError(t, f.register("n", "d", "e", second, q), "a refresh with a smaller one")
	require.NoError(t, f.register("n", "e", "env", second, q))
	require.NoError(t, f.register("n", "e", "a larger envelope", second, q), "a refresh is never refused")
	require.Greater(t, f.Bytes(), q.Bytes)
	require.ErrorIs(t, f.register("n", "f", "", second, q), ErrFull)
	checkInvariants(t, f.Registry, f.now)
	f.now += 2 * second
	f.evict()
	require.Zero(t, f.Bytes())
}

// TestGrowthIsBounded: records that grow after they were admitted take no more than the quota of
// bytes, and those that are no larger than the average no more than twice that.
func TestGrowthIsBounded(t *testing.T) {
	for name, lives := range map[string]int64{"fresh": 0, "lasting": 1} {
		t.Run(name, func(t *testing.T) {
			const total, average = 200, 100
			f, q := newFixture(), Quota{Total: total, Bytes: total * average}
			register := func(i, size int) error {
				e := Entry{Namespace: "n", Peer: numberedPeer(i), Envelope: make([]byte, size-1-len(numberedPeer(i))), Deadline: f.now + second + lives}
				e.Fresh = e.Deadline - lives
				a, err := f.Admit(&e, q, f.now)
				if err == nil {
					f.Put(a, &e)
				}
				return err
			}
			registered := 0
			for i := range total {
				if register(i, average/2) == nil {
					registered++
				}
			}
			most := q.Bytes / (1 + lives)
			refused := 0
			for i := range registered {
				if err := register(i, 10*average); err != nil {
					require.ErrorIs(t, err, ErrFull)
					refused++
				}
			}
			require.Positive(t, refused)
			require.Less(t, refused, registered)
			require.LessOrEqual(t, f.Bytes(), most)
			for i := range registered {
				require.NoError(t, register(i, average), "no more than the average")
				require.NoError(t, register(i, average/2))
				require.NoError(t, register(i, average))
			}
			require.LessOrEqual(t, f.Bytes(), 2*q.Bytes)
			checkInvariants(t, f.Registry, f.now)
		})
	}
}

// A refresh is over every limit, and is not refused if it has not grown.
func TestRefreshOverEveryLimit(t *testing.T) {
	f, q := newFixture(), Quota{PerPeer: 1, PerOrigin: 1, Total: 1, Bytes: 1}
	const addr = "192.0.2.1"
	for i := range 4 {
		require.NoError(t, f.registerFrom(addr, numbered(i), "p", second, unlimited))
	}
	require.NoError(t, f.registerFrom(addr, numbered(1), "p", 10*second, q))
	larger := Entry{
		Namespace: numbered(2), Peer: "p", Envelope: make([]byte, 1000),
		Deadline: f.now + 10*second, Origin: OriginOf(netip.MustParseAddr(addr)),
	}
	require.ErrorIs(t, f.put(&larger, q), ErrFull)
	q.Total = 0 // there is no average
	require.NoError(t, f.put(&larger, q))
	f.now += second
	require.ErrorIs(t, f.registerFrom(addr, numbered(0), "p", second, q), ErrPeerLimit, "it has expired, and would be a new one")
	require.Len(t, f.Sample(nil, "", 10, 0, f.now), 2)
	checkInvariants(t, f.Registry, f.now)
}

// Of several limits that are reached, the error is of the first.
func TestErrorIsOfTheFirstLimit(t *testing.T) {
	f := newFixture()
	const addr = "192.0.2.1"
	require.NoError(t, f.registerFrom(addr, "n", "p", second, unlimited))
	for _, test := range []struct {
		q    Quota
		want error
	}{
		{Quota{PerPeer: 1, PerOrigin: 1, Total: 1, Bytes: 1}, ErrPeerLimit},
		{Quota{PerOrigin: 1, Total: 1, Bytes: 1}, ErrOriginLimit},
		{Quota{Total: 1, Bytes: 1}, ErrFull},
		{Quota{Bytes: 1}, ErrFull},
	} {
		require.ErrorIs(t, f.registerFrom(addr, "m", "p", second, test.q), test.want)
	}
}

// An Admit evicts a bounded number of registrations. Others may use the registry before
// the next one.
func TestAdmitIsBehind(t *testing.T) {
	const addr, n = "192.0.2.1", 3 * maxEvictions
	for what, q := range map[string]Quota{
		"origin": {PerOrigin: 1},
		"total":  {Total: 1},
		"bytes":  {Bytes: 100},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture()
			for i := range n {
				require.NoError(t, f.registerFrom(addr, "n", numberedPeer(i), second, unlimited))
			}
			require.NoError(t, f.registerFrom("192.0.2.2", "n", "refreshed", 20*second, unlimited))
			f.now += 10 * second
			for calls := 1; calls < 3; calls++ {
				require.ErrorIs(t, f.registerFrom(addr, "n", "p", second, q), ErrBehind)
				require.Len(t, f.expired, calls*maxEvictions)
				checkInvariants(t, f.Registry, f.now)
				require.Len(t, f.Sample(nil, "n", 10, 0, f.now), 1)
			}
			require.False(t, f.Has("n", "p"))
			if what == "origin" {
				require.ErrorIs(t, f.registerFrom(addr, "n", "refreshed", 20*second, q), ErrBehind, "a refresh from where many have expired")
				require.NoError(t, f.registerFrom(addr, "n", "refreshed", 20*second, q))
				require.ErrorIs(t, f.registerFrom(addr, "n", "p", second, q), ErrOriginLimit)
				return
			}
			f.evict()
			if q.Total > 0 {
				require.ErrorIs(t, f.registerFrom(addr, "n", "p", second, q), ErrFull, "the one that is live")
				q.Total++
			}
			require.NoError(t, f.registerFrom(addr, "n", "p", second, q))
		})
	}
}

func TestOrigins(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0":              "0.0.0.0",
		"192.0.2.1":            "192.0.2.1",
		"255.255.255.255":      "255.255.255.255",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "ffff:ffff:ffff:ffff::",
		"::1":        "0:2::", // reserved
		"0:0:1:2::":  "0:2::",
		"64:ff9b::1": "64:ff9b::",
		"0:2:0:1::":  "0:2:0:1::",
	} {
		o := OriginOf(netip.MustParseAddr(addr))
		require.Equal(t, want, o.Addr().String(), addr)
		require.Equal(t, o, OriginOf(o.Addr()), addr)
		require.NotZero(t, o, addr)
	}
	require.Zero(t, OriginOf(netip.Addr{}))
	require.Equal(t, netip.Addr{}, Origin(0).Addr())
}

// lasting returns an entry that ends after it is no longer fresh.
func (f *fixture) lasting(p peer.ID, ttl int64) *Entry {
	return &Entry{Namespace: "n", Peer: p, Deadline: f.now + ttl, Fresh: f.now + ttl/2}
}

// Lasting registrations have half of the total and of the bytes, one at least, and count until
// they end.
func TestLastingLimits(t *testing.T) {
	const size = 39 // of a namespace and a peer
	for _, test := range []struct {
		q    Quota
		most int
	}{
		{Quota{Total: 1}, 1},
		{Quota{Total: 2}, 1},
		{Quota{Total: 3}, 1},
		{Quota{Total: 9}, 4},
		{Quota{Bytes: 2 * size}, 1},
		{Quota{Bytes: 8*size - 1}, 3},
		{Quota{Bytes: 8 * size}, 4},
	} {
		t.Run(fmt.Sprintf("%+v", test.q), func(t *testing.T) {
			f := newFixture()
			for i := range test.most {
				require.NoError(t, f.put(f.lasting(numberedPeer(i), 10*second+int64(i)), test.q))
			}
			over := numberedPeer(100)
			require.ErrorIs(t, f.put(f.lasting(over, 20*second), test.q), ErrFull)
			require.NoError(t, f.put(f.lasting(numberedPeer(0), 10*second), test.q), "a refresh")
			require.NoError(t, f.put(f.lasting(numberedPeer(0), 10*second), Quota{Total: 1, Bytes: 1}), "a refresh over every limit")
			f.Renew(numberedPeer(0), 10*second, f.now)
			require.ErrorIs(t, f.put(f.lasting(over, 20*second), test.q), ErrFull, "what was renewed counts")
			f.now += 10*second - 1
			require.ErrorIs(t, f.put(f.lasting(over, 20*second), test.q), ErrFull, "what is no longer fresh counts")
			f.now++ // the first one expires, and is not evicted
			require.NoError(t, f.put(f.lasting(over, 20*second), test.q))
			checkInvariants(t, f.Registry, f.now)
		})
	}
}

// A refresh that makes a registration lasting needs room among these, also if it comes from
// another origin.
func TestRefreshBecomesLasting(t *testing.T) {
	const a, b = "192.0.2.1", "192.0.2.2"
	f, q := newFixture(), Quota{PerOrigin: 1, Total: 4}
	require.NoError(t, f.registerFrom(a, "n", "p", 20*second, q))
	require.NoError(t, f.registerFrom(b, "n", "q", 20*second, q))
	for i := range 2 {
		require.NoError(t, f.put(f.lasting(numberedPeer(i), 10*second), q))
	}
	e := f.lasting("p", 20*second)
	for _, from := range []string{a, b, "192.0.2.3"} {
		e.Origin = OriginOf(netip.MustParseAddr(from))
		require.ErrorIs(t, f.put(e, q), ErrFull, "from %s", from)
		require.Equal(t, a, f.origin("n", "p"))
	}
	for _, s := range f.Sample(nil, "n", 10, 0, f.now) {
		if s.Peer() == "p" {
			require.Equal(t, f.now+20*second, s.Deadline(), "what was refused changed nothing")
		}
	}
	f.Remove("n", numberedPeer(1))
	e.Origin = OriginOf(netip.MustParseAddr(b))
	require.NoError(t, f.put(e, q))
	require.Equal(t, a, f.origin("n", "p"), "there is no room where it comes from")
	require.NoError(t, f.registerFrom(a, "n", "p", 20*second, q), "no longer lasting")
	require.NoError(t, f.put(f.lasting(numberedPeer(1), 10*second), q))
	checkInvariants(t, f.Registry, f.now)
}
