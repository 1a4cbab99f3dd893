package rendezvous

// Guards for the figures of docs/performance.md. They compare counts and ratios, never
// times, because machines differ in speed and load.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// newTestRequests returns the request handler of a point over s.
func newTestRequests(t testing.TB, s Storage, opts ...ServiceOption) *requests {
	t.Helper()
	config := defaultServiceConfig()
	require.NoError(t, applyOptions(&config, opts))
	return newRequests(s, config)
}

// filledPoint returns a point with the given number of registrations in namespace "n".
func filledPoint(t testing.TB, registrations int, opts ...ServiceOption) *requests {
	t.Helper()
	s := testStorage(t)
	r := Record{Namespace: "n", Envelope: make([]byte, 200), Deadline: time.Now().Add(time.Hour)}
	for i := range registrations {
		r.Peer = peer.ID(fmt.Sprintf("%032d", i))
		require.NoError(t, s.Add(t.Context(), r, Quota{}))
	}
	return newTestRequests(t, s, opts...)
}

// sink is a stream that accepts all writes.
type sink struct{ network.Stream }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// testStream returns a stream of a peer that accepts all writes.
func testStream(q *requests, from peer.ID) *stream {
	return &stream{
		Stream:        sink{},
		requests:      q,
		dialect:       wire.Waku,
		caller:        caller{peer: from, dialect: wire.Waku},
		streamBuffers: &streamBuffers{reader: bufio.NewReader(nil)},
	}
}

// allocsOf counts the allocations of a point from reading a request to writing its answer.
func allocsOf(t testing.TB, q *requests, from peer.ID, m *pb.Message) float64 {
	t.Helper()
	frame, err := wire.ReadFrame(bufio.NewReader(bytes.NewReader(frameOf(t, m))), nil, wire.Waku.MaxRequest)
	require.NoError(t, err)
	s := testStream(q, from)
	buf := make([]byte, 0, 1<<10)
	return testing.AllocsPerRun(200, func() {
		s.frame = buf
		require.NoError(t, wire.Waku.ParseRequest(&s.request, frame))
		a, err := q.answer(t.Context(), &s.caller, &s.request, q.lookUp(&s.caller, &s.request, time.Now()), nil, nil, time.Now())
		require.NoError(t, err)
		require.NoError(t, s.write(t.Context(), &a))
		a.release()
	})
}

// TestAllocations leaves room for emptied pools: the race detector empties them at random.
func TestAllocations(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	register := registerRequest("n", seal(t, key, id, "/ip4/192.0.2.1/tcp/1"), MaxTTL)

	for name, opts := range map[string][]ServiceOption{"plain": nil, "with metrics": {WithMetrics(prometheus.NewRegistry())}} {
		t.Run(name, func(t *testing.T) {
			few, many := filledPoint(t, 1000, opts...), filledPoint(t, 20_000, opts...)
			require.LessOrEqual(t, allocsOf(t, few, id, register), 7.0, "a known record is not opened again")
			for _, limit := range []int{10, 50, 1000} {
				allocs := allocsOf(t, many, id, discoverRequest("n", limit))
				require.LessOrEqual(t, allocs, 11.0, "DISCOVER %d: none for each registration", limit)
				require.InDelta(t, allocsOf(t, few, id, discoverRequest("n", limit)), allocs, 3, "none for registrations that are not in the answer")
			}
		})
	}
}

// TestAllocationsOfAnswer: a client that has verified 50 registrations before allocates
// nothing for each of them.
func TestAllocationsOfAnswer(t *testing.T) {
	c := NewClient(newHost(t))
	var found []wire.Found
	for _, e := range sealedRecords(t, 50) {
		found = append(found, wire.Found{Namespace: "n", Envelope: e, TTL: 20})
	}
	var out bytes.Buffer
	_, err := wire.Waku.WriteFound(&out, nil, found, nil)
	require.NoError(t, err)
	frame, err := wire.ReadFrame(bufio.NewReader(&out), nil, wire.Waku.MaxAnswer)
	require.NoError(t, err)
	var a wire.Answer
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		require.NoError(t, wire.Waku.ParseAnswer(&a, frame, len(found)))
		accepted, err := c.asker.accept(t.Context(), wire.Waku, "a point", "n", a.Discover.Registrations, new(RequestEnded))
		require.NoError(t, err)
		require.Len(t, accepted, len(found))
	}), 20.0)
}

// TestCostOfSample: drawing a few registrations costs about the same from many. A small
// difference comes from the CPU caches. A scan would cost a hundred times as much.
func TestCostOfSample(t *testing.T) {
	few, many := filledPoint(t, 500), filledPoint(t, 50_000)
	fastest := func(q *requests) time.Duration {
		var times []time.Duration
		for range 200 {
			begun := time.Now()
			_, err := q.storage.Sample(t.Context(), "n", 50, 0)
			require.NoError(t, err)
			times = append(times, time.Since(begun))
		}
		return slices.Min(times)
	}
	require.Less(t, float64(fastest(many))/float64(fastest(few)), 25.0)
}

var _ io.Writer = sink{}
