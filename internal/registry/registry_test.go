package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

const second = int64(time.Second)

var unlimited Quota

// numberedPeer returns an ID as long as that of an Ed25519 key.
func numberedPeer(i int) peer.ID { return peer.ID(fmt.Sprintf("%038d", i)) }

func TestRegistrationEndsAtItsDeadline(t *testing.T) {
	f := newFixture()
	require.NoError(t, f.register("n", "p", "envelope", 20*second, unlimited))
	f.now += 20*second - 1
	got := f.Sample(nil, "n", 10, 0, f.now)
	require.Len(t, got, 1)
	require.Equal(t, "n", got[0].Namespace())
	require.Equal(t, peer.ID("p"), got[0].Peer())
	require.Equal(t, "envelope", string(got[0].Envelope()))
	require.Equal(t, f.now+1, got[0].Deadline())

	f.now++
	require.Empty(t, f.Sample(nil, "n", 10, 0, f.now))
	require.Empty(t, f.Sample(nil, "", 10, 0, f.now))
	require.True(t, f.Has("n", "p"), "it is not evicted yet")
	require.Equal(t, f.now, f.Deadline("n", "p"))
	require.Equal(t, 1, f.Len())
	require.Zero(t, f.Expired())

	f.now += tick
	require.False(t, f.Evict(f.now, 100))
	require.False(t, f.Has("n", "p"))
	require.Zero(t, f.Len())
	require.Zero(t, f.Namespaces())
	require.EqualValues(t, 1, f.Expired())
	require.Equal(t, []key{{"n", "p"}}, f.expired)
}

func TestNobodyNeedsToHearOfExpiry(t *testing.T) {
	x := New(nil)
	x.Put(Admission{}, &Entry{Namespace: "n", Peer: "p", Deadline: second})
	require.False(t, x.Evict(2*second, 100))
	require.Zero(t, x.Len())
}

func TestUnknown(t *testing.T) {
	f := newFixture()
	require.NoError(t, f.register("n", "p", "envelope", second, unlimited))
	require.False(t, f.Has("n", "other"))
	require.False(t, f.Has("other", "p"))
	require.Zero(t, f.Deadline("n", "other"))
	require.Zero(t, f.Deadline("other", "p"))
	require.False(t, f.HasEnvelope("other", []byte("envelope")))
	require.False(t, f.HasEnvelope("other", nil))
	require.Empty(t, f.Sample(nil, "other", 10, 0, f.now))
}

func TestPeerLimitCountsWhatIsLive(t *testing.T) {
	for _, limit := range []int{1, 3, 40} {
		f, q := newFixture(), Quota{PerPeer: limit}
		for i := range limit {
			require.NoError(t, f.register(numbered(i), "p", "", second+int64(i), q))
		}
		require.ErrorIs(t, f.register("over", "p", "", second, q), ErrPeerLimit)
		require.NoError(t, f.register("over", "other", "", second, q), "another peer")
		require.NoError(t, f.register(numbered(0), "p", "", second, Quota{PerPeer: 1}), "a refresh")
		f.now += second - 1
		require.ErrorIs(t, f.register("over", "p", "", second, q), ErrPeerLimit)
		f.now++ // the first one expires, and is not evicted
		require.NoError(t, f.register("over", "p", "", 2*second, q))
		require.ErrorIs(t, f.register(numbered(0), "p", "", second, q), ErrPeerLimit, "it has expired, and would be a new one")
		require.False(t, f.Has(numbered(0), "p"))
	}
}

func TestTotalCountsWhatIsLive(t *testing.T) {
	f, q := newFixture(), Quota{Total: 3}
	require.NoError(t, f.register("n", "a", "", 10*second, q))
	require.NoError(t, f.register("n", "b", "", 10*second, q))
	// The first has a later deadline than the wheel knows of, the second an earlier one.
	require.NoError(t, f.register("n", "a", "", 20*second, q))
	require.NoError(t, f.register("n", "b", "", 5*second, q))
	require.NoError(t, f.register("n", "c", "", 20*second, q))
	require.ErrorIs(t, f.register("n", "d", "", 20*second, q), ErrFull)
	f.now += 5*second - 1
	require.ErrorIs(t, f.register("n", "d", "", 20*second, q), ErrFull)
	f.now++
	require.NoError(t, f.register("n", "d", "", 20*second, q))
	require.Equal(t, []key{{"n", "b"}}, f.expired)
	f.now += 10 * second
	require.ErrorIs(t, f.register("n", "e", "", 20*second, q), ErrFull)
	checkInvariants(t, f.Registry, f.now)
}

// All expire in the same tick, one after the other, and each makes room for one.
func TestTotalIsExactWithinATick(t *testing.T) {
	const n = 50
	f, q := newFixture(), Quota{Total: n}
	for i := range n {
		require.NoError(t, f.register("n", numberedPeer(i), "", 10*second+int64(i*7%n), q))
	}
	f.now += 10*second - 1
	for i := range n {
		require.ErrorIs(t, f.register("n", numberedPeer(n+i), "", second, q), ErrFull, "at %d", i)
		f.now++
		require.NoError(t, f.register("n", numberedPeer(n+i), "", second, q), "at %d", i)
		require.Len(t, f.expired, i+1)
		checkInvariants(t, f.Registry, f.now)
	}
}

// A refresh within the tick changes the order in which registrations expire.
func TestRefreshWithinATick(t *testing.T) {
	f, q := newFixture(), Quota{Total: 2}
	f.now = 100 * tick
	require.NoError(t, f.register("n", "a", "", 10, q))
	require.NoError(t, f.register("n", "b", "", 20, q))
	require.ErrorIs(t, f.register("n", "c", "", second, q), ErrFull)
	require.NoError(t, f.register("n", "a", "", 30, q))
	f.now += 20
	require.NoError(t, f.register("n", "c", "", second, q))
	require.Equal(t, []key{{"n", "b"}}, f.expired)
	require.ErrorIs(t, f.register("n", "d", "", second, q), ErrFull)
	checkInvariants(t, f.Registry, f.now)
}

func TestLoweredTotal(t *testing.T) {
	f := newFixture()
	for i := range 100 {
		require.NoError(t, f.register("n", numberedPeer(i), "", second+int64(i), unlimited))
	}
	require.ErrorIs(t, f.register("n", "p", "", second, Quota{Total: 10}), ErrFull)
	f.now += second + 89
	require.ErrorIs(t, f.register("n", "p", "", second, Quota{Total: 10}), ErrFull)
	f.now++
	require.NoError(t, f.register("n", "p", "", second, Quota{Total: 10}))
	require.Equal(t, 10, f.Len())
}

func TestEnvelopesAreShared(t *testing.T) {
	f := newFixture()
	require.NoError(t, f.register("n", "p", "envelope 1", 10*second, unlimited))
	require.NoError(t, f.register("m", "p", "envelope 1", 10*second, unlimited))
	first := func() *byte { return &f.Sample(nil, "n", 1, 0, f.now)[0].Envelope()[0] }
	require.Same(t, first(), &f.Sample(nil, "m", 1, 0, f.now)[0].Envelope()[0])
	old := first()
	require.NoError(t, f.register("n", "p", "envelope 1", 10*second, unlimited))
	require.Same(t, old, first())

	require.NoError(t, f.register("n", "p", "envelope 2", 10*second, unlimited))
	require.Equal(t, "envelope 2", string(f.Sample(nil, "n", 1, 0, f.now)[0].Envelope()))
	require.Equal(t, "envelope 1", string(f.Sample(nil, "m", 1, 0, f.now)[0].Envelope()))
	require.True(t, f.HasEnvelope("p", []byte("envelope 2")))
	require.False(t, f.HasEnvelope("p", []byte("envelope 1")), "it is not the last one")
	f.now += 11 * second
	f.evict()
	require.False(t, f.HasEnvelope("p", []byte("envelope 2")), "all are gone")
}

func TestNothingOfTheCallersIsHeld(t *testing.T) {
	f := newFixture()
	all := []byte("namespace peer envelope")
	part := func(from, to int) string { return string(all[from:to]) }
	require.NoError(t, f.register(part(0, 9), peer.ID(part(10, 14)), part(15, 23), second, unlimited))
	e := Entry{Namespace: "namespace", Peer: "peer", Envelope: []byte("other"), Deadline: f.now + second}
	require.NoError(t, f.put(&e, unlimited))
	copy(e.Envelope, "xxxxx")
	require.Equal(t, "other", string(f.Sample(nil, "", 1, 0, f.now)[0].Envelope()))
}

func TestEvictLooksAtNoMoreThanItMay(t *testing.T) {
	const n = 100
	f := newFixture()
	for i := range n {
		require.NoError(t, f.register("n", numberedPeer(i), "", second, unlimited))
	}
	for i := range n / 2 { // these are looked at, and move on
		require.NoError(t, f.register("n", numberedPeer(2*i), "", 10*second, unlimited))
	}
	f.now += 2 * second
	require.True(t, f.Evict(f.now, 0))
	require.Equal(t, n, f.Len())
	for looked := 0; looked < n; looked += 10 {
		require.True(t, f.Evict(f.now, 10))
		require.LessOrEqual(t, len(f.expired), looked+10)
		require.GreaterOrEqual(t, len(f.expired), looked+10-n/2)
		checkInvariants(t, f.Registry, f.now)
	}
	require.False(t, f.Evict(f.now, 1))
	require.Equal(t, n/2, f.Len())
}

// Evict finds what has expired after any time without a call, whichever its bucket.
func TestEvictAfterARest(t *testing.T) {
	for _, rest := range []int64{tick, turn - tick, turn - 1, turn, turn + 1, turn + tick, 5*turn - tick, 5 * turn, 1 << 62} {
		for _, ttl := range []int64{0, tick, turn - tick, turn - 1, turn, turn + tick, 3 * turn} {
			f := newFixture()
			require.NoError(t, f.register("n", "p", "", ttl, unlimited))
			f.now += rest
			f.evict()
			if rest >= ttl+tick {
				require.Zero(t, f.Len(), "after %d of %d", rest, ttl)
			} else if rest < ttl {
				require.Equal(t, 1, f.Len(), "after %d of %d", rest, ttl)
			}
			checkInvariants(t, f.Registry, f.now)
			f.now += turn + ttl
			require.NoError(t, f.register("n", "q", "", ttl, unlimited), "a rest later")
			f.now += tick + ttl
			f.evict()
			require.Zero(t, f.Len(), "after %d of %d", rest, ttl)
		}
	}
}

// A peer is in very many namespaces, whose names are prefixes of each other.
func TestManyNamespacesOfAPeer(t *testing.T) {
	f := newFixture()
	name := func(i int) string { return fmt.Sprintf("%0*d", 1+i/2, i%2) }
	const n = 500
	for i := range n {
		at := (i * 7) % n
		require.NoError(t, f.register(name(at), "p", "", second+int64(at), unlimited))
	}
	checkInvariants(t, f.Registry, f.now)
	for i := range n {
		require.Len(t, f.Sample(nil, name(i), 2, 0, f.now), 1)
	}
	f.now += second + n/2
	f.now += tick
	f.evict()
	checkInvariants(t, f.Registry, f.now)
	require.Zero(t, f.Len())
}

// What is evicted gives its memory back, even if something is left.
func TestMemoryIsGivenBack(t *testing.T) {
	const n, left = 20_000, 20
	f := newFixture()
	for i := range n {
		ttl := second
		if i%(n/left) == 0 {
			ttl = 10 * second
		}
		require.NoError(t, f.register("n", numberedPeer(i), "envelope", ttl, unlimited))
		require.NoError(t, f.register(numbered(i), "crowded", "envelope", ttl, unlimited))
	}
	f.now += 2 * second
	f.evict()
	require.Equal(t, 2*left, f.Len())
	checkInvariants(t, f.Registry, f.now) // this checks how much room there is
	f.now += 20 * second
	f.evict()
	require.Zero(t, f.Len())
	checkInvariants(t, f.Registry, f.now)
	require.Empty(t, entriesOf(t, &f.registrants))
	require.Empty(t, entriesOf(t, &f.namespaces))
	require.LessOrEqual(t, cap(f.all.slots), 8)
}
