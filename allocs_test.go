package rendezvous

// Guards for what docs/performance.md says: counts and ratios, never times, since
// machines differ and are busy.

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// pointWith returns a point's term, with so many registrations in namespace "n".
func pointWith(t testing.TB, registrations int, opts ...ServiceOption) *term {
	t.Helper()
	s := testStorage(t)
	r := Record{Namespace: "n", Envelope: make([]byte, 200), Deadline: time.Now().Add(time.Hour)}
	for i := range registrations {
		r.Peer = peer.ID(fmt.Sprintf("%032d", i))
		require.NoError(t, s.Add(t.Context(), r, Quota{}))
	}
	config := defaultServiceConfig()
	require.NoError(t, applyOptions(&config, opts))
	term := newTerm(s, config)
	t.Cleanup(term.cancel)
	return term
}

// allocsOf counts what a point allocates from a request's bytes to its answer's.
func allocsOf(t testing.TB, term *term, from peer.ID, m *pb.Message) float64 {
	t.Helper()
	frame, err := appendFrame(nil, m)
	require.NoError(t, err)
	buf := make([]byte, 0, 1<<10)
	return testing.AllocsPerRun(200, func() {
		var r request
		require.NoError(t, r.parse(frame[len(frame)-sizeOf(frame):]))
		a, err := term.respond(&caller{peer: from}, &r, nil, time.Now())
		require.NoError(t, err)
		_, err = a.write(io.Discard, buf)
		require.NoError(t, err)
		a.recycle()
	})
}

// sizeOf is the size of the message in a frame of up to 16 KiB.
func sizeOf(frame []byte) int {
	if frame[0] < 0x80 {
		return len(frame) - 1
	}
	return len(frame) - 2
}

// TestAllocations: the numbers are what there is, and a few for pools that were
// just emptied, which under the race detector they are at random.
func TestAllocations(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	register := registerRequest("n", seal(t, key, id, "/ip4/192.0.2.1/tcp/1"), MaxTTL)

	for name, opts := range map[string][]ServiceOption{"plain": nil, "with metrics": {WithMetrics(prometheus.NewRegistry())}} {
		t.Run(name, func(t *testing.T) {
			few, many := pointWith(t, 1000, opts...), pointWith(t, 20_000, opts...)
			require.LessOrEqual(t, allocsOf(t, few, id, register), 3.0, "a record that is known is not opened again")
			for _, limit := range []int{10, 50, 1000} {
				allocs := allocsOf(t, many, id, discoverRequest("n", limit))
				require.LessOrEqual(t, allocs, 7.0, "DISCOVER %d: none for each registration", limit)
				require.InDelta(t, allocsOf(t, few, id, discoverRequest("n", limit)), allocs, 3, "nor for those that are not in the answer")
			}
		})
	}
}

// TestAllocationsOfAnswer: a client that has verified 50 registrations before makes
// none for each of them.
func TestAllocationsOfAnswer(t *testing.T) {
	c := NewClient(newHost(t))
	var sent []listing
	for _, e := range sealedRecords(t, 50) {
		sent = append(sent, listing{namespace: "n", envelope: e, left: MaxTTL + grace})
	}
	frame, _ := discoverFrame(t, sent)
	var d discovered
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		require.NoError(t, d.parse(frame[len(frame)-sizeOf(frame):], len(sent)))
		require.Len(t, c.accept("a point", "n", d.claims), len(sent))
	}), 20.0)
}

// TestCostOfSample: to draw a few costs about the same from many. Where it does not,
// it is the caches; a scan would cost a hundred times as much.
func TestCostOfSample(t *testing.T) {
	few, many := pointWith(t, 500), pointWith(t, 50_000)
	fastest := func(term *term) time.Duration {
		var times []time.Duration
		for range 200 {
			begun := time.Now()
			_, err := term.storage.Sample(t.Context(), "n", 50)
			require.NoError(t, err)
			times = append(times, time.Since(begun))
		}
		return slices.Min(times)
	}
	require.Less(t, float64(fastest(many))/float64(fastest(few)), 25.0)
}
