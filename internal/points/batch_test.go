package points

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// numbered returns n requests, of which each accepts only the echo of its own number.
func numbered(n int) []Request {
	requests := make([]Request, n)
	for i := range requests {
		text := fmt.Sprintf("%05d", i)
		requests[i] = Request{
			Append:    func(dst []byte, _ protocol.ID) []byte { return append(append(dst, 5), text...) },
			MaxAnswer: 100,
			Price:     0.2,
			Read: func(frame []byte, _ protocol.ID) error {
				switch string(frame) {
				case text:
					return nil
				case refusal:
					return errRefused
				default:
					return errUseless
				}
			},
		}
	}
	return requests
}

// echoing makes a host a point that answers with what it is asked. After each answer it calls
// goOn, with how many there were on the stream, until that returns false.
func echoing(h host.Host, goOn func(answered int, st network.Stream, r *bufio.Reader) bool) *atomic.Int64 {
	streams := new(atomic.Int64)
	h.SetStreamHandler(testProtocol, func(st network.Stream) {
		streams.Add(1)
		defer func() { _ = st.Close() }()
		r := bufio.NewReader(st)
		for n := 1; ; n++ {
			frame, err := wire.ReadFrame(r, nil, 1000)
			if err != nil {
				return
			}
			if string(frame) == "00007" {
				frame = []byte(refusal)
			}
			_, _ = st.Write(append([]byte{byte(len(frame))}, frame...))
			if !goOn(n, st, r) {
				return
			}
		}
	})
	return streams
}

func always(int, network.Stream, *bufio.Reader) bool { return true }

// requireAnswers checks that each request had its own answer. The seventh is refused.
func requireAnswers(t *testing.T, errs []error, n int) {
	t.Helper()
	require.Len(t, errs, n)
	for i, err := range errs {
		if i == 7 {
			require.ErrorIs(t, err, errRefused)
		} else {
			require.NoError(t, err, i)
		}
	}
}

// TestRoundTrips: many requests need one stream and the time of two: one that opens the stream,
// and the others together. Each has its own answer.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		streams := echoing(b.hosts[0], always)
		require.Empty(t, p.RoundTrips(t.Context(), nil))
		connect(t, b.client, b.hosts[0])
		for range 3 {
			begun := time.Now()
			requireAnswers(t, p.RoundTrips(t.Context(), numbered(40)), 40)
			require.Less(t, time.Since(begun), 150*time.Millisecond, "of which each way takes 10")
			require.EqualValues(t, 1, streams.Load())
			time.Sleep(time.Second)
		}
		require.Zero(t, p.brokenBatches)

		time.Sleep(time.Second)
		requests := numbered(maxBatch)
		for i := range requests {
			requests[i].Price = firstRate * burstTime.Seconds() / 10
		}
		errs := p.RoundTrips(t.Context(), requests)
		requireAnswers(t, errs[:10], 10)
		for _, err := range errs[10:] {
			require.ErrorIs(t, err, ErrNotAnswered, "the pace lets no more through")
		}
	})
}

// makeAll makes requests together, and those that were not made alone.
func makeAll(ctx context.Context, p *Point, requests []Request) []error {
	errs := p.RoundTrips(ctx, requests)
	for i, err := range errs {
		if errors.Is(err, ErrNotAnswered) {
			errs[i] = p.RoundTrip(ctx, requests[i])
		}
	}
	return errs
}

// TestBatchBreaksOff at points that do not answer many requests on a stream. The requests can
// then be made alone, without an error, and soon no more are sent together.
func TestBatchBreaksOff(t *testing.T) {
	for name, after := range map[string]func(int, network.Stream, *bufio.Reader) bool{
		"forgets what has come with a request": func(_ int, _ network.Stream, r *bufio.Reader) bool {
			_, err := r.Discard(r.Buffered())
			return err == nil
		},
		"resets":                      func(n int, st network.Stream, _ *bufio.Reader) bool { return n < 3 || st.Reset() != nil },
		"one request for each stream": func(_ int, st network.Stream, _ *bufio.Reader) bool { return st.Close() != nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 1)
				p := b.set.Known()[0]
				echoing(b.hosts[0], after)
				connect(t, b.client, b.hosts[0])
				conn := b.client.Network().ConnsToPeer(p.ID())[0]
				for range 2 * maxBrokenBatches {
					requireAnswers(t, makeAll(t.Context(), p, numbered(10)), 10)
					require.False(t, p.Failing())
					require.False(t, conn.IsClosed())
					time.Sleep(12 * time.Second)
				}
				begun := time.Now()
				requireAnswers(t, makeAll(t.Context(), p, numbered(10)), 10)
				require.Less(t, time.Since(begun), time.Second, "ten requests, one after the other")
			})
		})
	}
}

// TestSlowBatch: a point that takes long for each answer gets no more at once than it can answer
// in time.
func TestSlowBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		echoing(b.hosts[0], func(int, network.Stream, *bufio.Reader) bool {
			time.Sleep(300 * time.Millisecond)
			return true
		})
		for range 3 {
			requireAnswers(t, makeAll(t.Context(), p, numbered(10)), 10)
			require.Equal(t, 3, p.maxBatch())
		}
		time.Sleep(time.Second) // until the point has ended
	})
}

// TestBatchAtFailingPoint: the first request finds out, and the others are not made.
func TestBatchAtFailingPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		b.behave(resetting, p)
		errs := p.RoundTrips(t.Context(), numbered(10))
		require.Len(t, errs, 10)
		require.ErrorIs(t, errs[0], network.ErrReset)
		for _, err := range errs[1:] {
			require.ErrorIs(t, err, ErrNotAnswered)
		}
		require.Equal(t, 1, p.backoff.failures)

		echoing(b.hosts[0], always)
		time.Sleep(maxBackoff)
		requireAnswers(t, makeAll(t.Context(), p, numbered(10)), 10)
		b.behave(silent, p)
		require.NoError(t, b.client.Network().ClosePeer(p.ID()))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		for _, err := range p.RoundTrips(ctx, numbered(10)) {
			require.ErrorIs(t, err, ErrNotAnswered)
		}
		require.Equal(t, 2*time.Second, time.Since(begun))
		require.False(t, p.Failing(), "it had no time")
	})
}
