package points

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// TestRoundTrip dials a point, speaks what it speaks, and takes a long answer.
func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Point(b.hosts[0].ID())
		long := make([]byte, 100<<10)
		b.behave(sending("\x80\xa0\x06"+string(long)), p)
		for range 2 {
			var sent, received protocol.ID
			r := hello()
			appendHello := r.Append
			r.Append = func(dst []byte, id protocol.ID) []byte {
				sent = id
				return appendHello(dst, id)
			}
			r.MaxAnswer = len(long)
			r.Read = func(frame []byte, id protocol.ID) error {
				received = id
				require.Equal(t, long, frame)
				return nil
			}
			require.NoError(t, p.RoundTrip(t.Context(), r))
			require.Equal(t, testProtocol, sent)
			require.Equal(t, testProtocol, received)
		}
	})
}

// TestEndedContext: the error of a request whose context has ended says so, whenever that was.
func TestEndedContext(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for after := range 8 {
			t.Run(fmt.Sprintf("kept %v, after %d steps", kept, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBed(t, 1)
					p := b.set.Known()[0]
					if kept {
						b.behave(sending("\x03yes"), p)
						require.NoError(t, p.RoundTrip(t.Context(), hello()))
					}
					end := make(chan struct{})
					defer close(end)
					b.behave(func(network.Stream, *bufio.Reader) { <-end }, p)
					for _, request := range []func(context.Context) error{
						func(ctx context.Context) error { return p.RoundTrip(ctx, hello()) },
						func(ctx context.Context) error {
							return p.Tell(ctx, func(dst []byte, _ protocol.ID) []byte { return append(dst, "\x03bye"...) })
						},
					} {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*7*time.Millisecond)
						require.ErrorIs(t, request(ctx), context.DeadlineExceeded)
						cancel()
					}
				})
			})
		}
	}
}

// TestNoHalfClose: some points reset a stream when its sender closes it, even if they
// have not answered yet.
func TestNoHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		ended := make(chan error, 1)
		p := b.set.Known()[0]
		b.behave(func(st network.Stream, r *bufio.Reader) {
			closed := make(chan error)
			go func() {
				_, err := r.ReadByte()
				closed <- err
			}()
			select {
			case <-closed:
				_ = st.Reset()
			case <-time.After(time.Second):
				answering(yes)(st, r)
				ended <- <-closed
			}
		}, p)
		require.NoError(t, sayHello(t.Context(), p))
		synctest.Wait()
		time.Sleep(idleTime + time.Second)
		require.ErrorIs(t, <-ended, io.EOF, "the stream is closed when it was idle for long, not reset")
	})
}

// TestUselessAnswers are errors, leave no stream behind, and begin a backoff.
func TestUselessAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		does behaviour
		want error
		text string
	}{
		"reset":                 {does: resetting, want: network.ErrReset},
		"no answer":             {does: sending(""), want: io.ErrUnexpectedEOF},
		"half a length":         {does: sending("\x80"), want: io.ErrUnexpectedEOF},
		"half an answer":        {does: sending("\x05yes"), want: io.ErrUnexpectedEOF},
		"too long an answer":    {does: sending("\x65"), want: wire.ErrProtocol},
		"an overflowing length": {does: sending("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), want: wire.ErrProtocol},
		"nonsense":              {does: answering("maybe"), want: errUseless},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 1)
				p := b.set.Known()[0]
				b.behave(row.does, p)
				err := sayHello(t.Context(), p)
				require.ErrorIs(t, err, row.want)
				require.True(t, p.inBackoff())
				time.Sleep(idleTime + time.Second)
				for _, c := range b.client.Network().Conns() {
					require.Empty(t, c.GetStreams())
				}
			})
		})
	}
}

// TestJudgement: only what is the point's fault begins a backoff, and any answer ends it.
func TestJudgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		for _, row := range []struct {
			answer  string
			resting bool
		}{{refusal, false}, {tooMuch, false}, {refusal, false}, {"nonsense", true}, {yes, false}} {
			b.behave(answering(row.answer), p)
			_ = sayHello(t.Context(), p)
			require.Equal(t, row.resting, p.inBackoff(), row.answer)
			time.Sleep(time.Millisecond)
		}
	})
}

// TestSilentPoint: contexts and deadlines bound a request to a point that accepts it and
// never answers.
func TestSilentPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		connect(t, b.client, b.hosts[0])
		p := b.set.Known()[0]
		b.behave(silent, p)

		begun := time.Now()
		err := sayHello(t.Context(), p)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "wait for answer")
		require.Equal(t, requestTimeout, time.Since(begun))
		require.True(t, p.inBackoff())

		time.Sleep(maxBackoff)
		begun = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(fairTime/2, cancel)
		require.ErrorIs(t, sayHello(ctx, p), context.Canceled)
		require.Equal(t, fairTime/2, time.Since(begun))
		require.False(t, p.inBackoff(), "it had no time")

		ctx, cancel = context.WithTimeout(t.Context(), fairTime+probeAfter/4) // so that only one timer is due
		defer cancel()
		require.ErrorIs(t, sayHello(ctx, p), context.DeadlineExceeded)
		require.True(t, p.inBackoff(), "it had some")
		time.Sleep(time.Second)
		require.Zero(t, b.streams(p))
	})
}

// TestUnreachablePoint is given up in time.
func TestUnreachablePoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		b.unplug(0, true)
		p := b.set.Known()[0]
		begun := time.Now()
		err := sayHello(t.Context(), p)
		require.ErrorContains(t, err, "open stream")
		require.LessOrEqual(t, time.Since(begun), requestTimeout)
		require.True(t, p.inBackoff())
	})
}

// TestNamedAddressesLast: a host forgets addresses after a while, and those of a point
// are told again.
func TestNamedAddressesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		require.NoError(t, b.client.Network().ClosePeer(p.ID()))
		time.Sleep(time.Hour)
		b.client.Peerstore().ClearAddrs(p.ID())
		require.NoError(t, sayHello(t.Context(), p))
	})
}

// TestDialBackoffIsIgnored: the host's own backoff from a point that was down for long
// does not prevent requests when it is back.
func TestDialBackoffIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		b.unplug(0, true)
		for range 10 { // as others on this host do
			_ = b.client.Connect(t.Context(), info(b.hosts[0]))
			time.Sleep(time.Minute)
		}
		_ = b.client.Connect(t.Context(), info(b.hosts[0]))
		b.unplug(0, false)
		require.NoError(t, sayHello(t.Context(), b.set.Known()[0]))
	})
}

// TestReconnectedPointIsTried once, whether or not anyone listens to events, and its
// backoff goes on if it fails again.
func TestReconnectedPointIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2)
		bad := b.set.Point(b.hosts[0].ID())
		b.behave(resetting, bad)
		for range goneAfter {
			require.False(t, bad.Gone())
			require.Error(t, sayHello(t.Context(), bad))
			time.Sleep(maxBackoff)
		}
		require.True(t, bad.Gone())
		require.Error(t, sayHello(t.Context(), bad))
		only := idsOf([]*Point{b.set.Point(b.hosts[1].ID())})
		require.Equal(t, idsOf(b.set.Choose("n")), only)

		reconnect := func() {
			require.NoError(t, b.client.Network().ClosePeer(bad.ID()))
			time.Sleep(100 * time.Millisecond) // until the point knows, too
			connect(t, b.hosts[0], b.client)
		}
		reconnect()
		require.Len(t, b.set.Choose("n"), 2)
		require.Error(t, sayHello(t.Context(), bad))
		require.Greater(t, time.Until(bad.backoff.until), maxBackoff/2)
		require.True(t, bad.Gone())
		reconnect()
		require.Equal(t, idsOf(b.set.Choose("n")), only, "it comes back all the time")

		b.behave(answering(yes), bad)
		time.Sleep(maxBackoff)
		require.NoError(t, sayHello(t.Context(), bad))
		require.Zero(t, bad.backoff)
	})
}

// TestLimitsOfTheHost: a request that the host's own resource manager refuses is no failure of the
// point. The point is asked again soon, and does not come to be gone.
func TestLimitsOfTheHost(t *testing.T) {
	point, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	defer point.Close()
	serve(point, answering(yes))
	for name, limits := range map[string]rcmgr.PartialLimitConfig{
		"connections":            {System: rcmgr.ResourceLimits{ConnsOutbound: rcmgr.BlockAllLimit}},
		"streams":                {System: rcmgr.ResourceLimits{StreamsOutbound: rcmgr.BlockAllLimit}},
		"streams of the service": {Service: map[string]rcmgr.ResourceLimits{"test": {StreamsOutbound: rcmgr.BlockAllLimit}}},
	} {
		t.Run(name, func(t *testing.T) {
			limited, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Build(rcmgr.DefaultLimits.AutoScale())))
			require.NoError(t, err)
			h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.ResourceManager(limited))
			require.NoError(t, err)
			defer h.Close()
			p := namedSet(h, info(point)).Known()[0]
			for range 2 { // the second one waits until the first pause is over
				require.ErrorIs(t, sayHello(t.Context(), p), network.ErrResourceLimitExceeded)
				require.Equal(t, 1, p.backoff.failures)
				require.LessOrEqual(t, p.backoff.until.Sub(p.backoff.since), MinBackoff)
			}
		})
	}
}

// serveConns makes a host a point that answers on some connections only.
func serveConns(h host.Host, answers func(network.Conn) bool) {
	h.SetStreamHandler(testProtocol, func(st network.Stream) {
		r := bufio.NewReader(st)
		for {
			if _, err := wire.ReadFrame(r, nil, 1000); err != nil {
				_ = st.Reset()
				return
			}
			if answers(st.Conn()) {
				answering(yes)(st, r)
			}
		}
	})
}

// TestStreamsAreKept for the next requests, closed when they were idle for long, and
// replaced without an error when they are broken.
func TestStreamsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		serveConns(b.hosts[0], func(network.Conn) bool { return true })
		var running sync.WaitGroup
		for range 3 * MaxIdleStreams {
			running.Go(func() { require.NoError(t, sayHello(t.Context(), p)) })
		}
		running.Wait()
		time.Sleep(time.Second)
		require.Equal(t, MaxIdleStreams, b.streams(p))
		for range 10 {
			require.NoError(t, sayHello(t.Context(), p))
			require.Equal(t, MaxIdleStreams, b.streams(p))
		}
		for _, c := range b.hosts[0].Network().ConnsToPeer(b.client.ID()) {
			for _, st := range c.GetStreams() {
				_ = st.Reset()
			}
		}
		time.Sleep(time.Second)
		require.NoError(t, sayHello(t.Context(), p))
		require.Zero(t, p.backoff)
		time.Sleep(idleTime + time.Second)
		require.Zero(t, b.streams(p))

		b.behave(answering(yes), p) // one request per stream
		for range 3 * maxBrokenStreams {
			require.NoError(t, sayHello(t.Context(), p))
			time.Sleep(100 * time.Millisecond)
		}
		require.Zero(t, b.streams(p), "it is of no use")
	})
}

// streams returns how many streams of the protocol are open to a point.
func (b *bed) streams(p *Point) (n int) {
	for _, c := range b.client.Network().ConnsToPeer(p.ID()) {
		n += streamsOn(c)
	}
	return n
}

// streamsOn returns how many streams of the protocol are open on a connection.
func streamsOn(c network.Conn) (n int) {
	for _, st := range c.GetStreams() {
		if st.Protocol() == testProtocol {
			n++
		}
	}
	return n
}

// TestHangingUp: a point that closes the connection at each request is left alone for
// longer and longer.
func TestHangingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		var asked atomic.Int64
		b.behave(func(st network.Stream, _ *bufio.Reader) {
			asked.Add(1)
			_ = st.Conn().Close()
		}, p)
		var running sync.WaitGroup
		until := time.Now().Add(5 * time.Minute)
		for range 10 {
			running.Go(func() {
				for time.Now().Before(until) {
					require.Error(t, sayHello(t.Context(), p))
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		running.Wait()
		// Five minutes of the longest backoff, which jitter shortens by a quarter at most.
		require.Less(t, asked.Load(), int64(5*time.Minute/(maxBackoff*3/4)+10))
	})
}
