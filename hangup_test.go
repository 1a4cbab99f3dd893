package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
)

// servedRequests counts the requests that a point has answered.
type servedRequests struct {
	noMetrics
	registers, discovers atomic.Int64
}

func (s *servedRequests) RequestAnswered(e RequestAnswered) {
	switch e.Type {
	case RequestRegister:
		s.registers.Add(1)
	case RequestDiscover:
		s.discovers.Add(1)
	default:
	}
}

const loadTime = 2 * time.Minute

// load is how many requests two points get in loadTime from a client that keeps its host
// registered in two namespaces and searches them each second, and how many connections the bad
// one gets from its host.
type load struct{ registers, discovers, bad, conns int64 }

// loadBeside returns the load of an honest point, and of a bad one beside it that closes the
// connection at each request. annoy is what the bad point does besides, until ctx ends. If it is
// nil, there is no bad point.
func loadBeside(t *testing.T, p spoken, annoy func(ctx context.Context, bad, client host.Host)) (l load) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		honest, bad, h := hosts[0], hosts[1], hosts[2]
		served := new(servedRequests)
		startPoint(t, honest, testStorage(t), append(p.serve, WithMetricsTracer(served))...)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var asked, conns atomic.Int64
		c := p.client(h, info(honest))
		if annoy != nil {
			for _, id := range []protocol.ID{RendezvousID_v001, StandardID} {
				bad.SetStreamHandler(id, func(st network.Stream) {
					_, _ = st.Read(make([]byte, 1))
					asked.Add(1)
					_ = st.Conn().Close()
				})
			}
			bad.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
				if c.Stat().Direction == network.DirInbound {
					conns.Add(1)
				}
			}})
			c = p.client(h, info(honest), info(bad))
			running.Go(func() { annoy(ctx, bad, h) })
		}
		all := namespaces(2)
		states, err := c.KeepRegistered(ctx, all...)
		require.NoError(t, err)
		for _, ns := range all {
			running.Go(func() {
				for ctx.Err() == nil {
					if found, err := c.FindPeers(ctx, ns); err == nil {
						for range found { // until the search has ended
						}
					}
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(30 * time.Second)
		before := load{served.registers.Load(), served.discovers.Load(), asked.Load(), conns.Load()}
		time.Sleep(loadTime)
		l = load{
			registers: served.registers.Load() - before.registers,
			discovers: served.discovers.Load() - before.discovers,
			bad:       asked.Load() - before.bad,
			conns:     conns.Load() - before.conns,
		}
		cancel()
		running.Wait()
		for range states { // until its goroutines have ended
		}
	})
	return l
}

// TestSimulationPointsThatHangUp: a point hangs up at each request, and another one also
// reconnects all the time. Each is left alone for longer and longer, and the honest point beside
// it notices nothing.
func TestSimulationPointsThatHangUp(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		alone := loadBeside(t, p, nil)
		t.Logf("the honest point alone: %+v", alone)
		beside := func(what string, attempts, requests int64, annoy func(ctx context.Context, bad, client host.Host)) {
			l := loadBeside(t, p, annoy)
			t.Logf("beside one that %s: %+v", what, l)
			require.LessOrEqual(t, float64(l.registers), 1.3*float64(alone.registers))
			require.LessOrEqual(t, float64(l.discovers), 1.3*float64(alone.discovers))
			require.Positive(t, l.bad)
			require.LessOrEqual(t, l.conns, attempts, "one that %s is left alone", what)
			require.LessOrEqual(t, l.bad, attempts*requests, "one that %s is left alone", what)
		}
		// An attempt every 4.5 to 6 seconds, on a new connection.
		beside("hangs up", int64(loadTime/(4500*time.Millisecond))+1, 1, func(ctx context.Context, _, _ host.Host) { <-ctx.Done() })
		// An attempt is brought forward every five seconds at most, when the point connects. It is of
		// two requests if the point closes a connection that was there before.
		beside("reconnects", int64(loadTime/(3*time.Second)), 2, func(ctx context.Context, bad, client host.Host) {
			for ctx.Err() == nil {
				_ = bad.Connect(ctx, info(client))
				time.Sleep(2 * time.Second)
				_ = bad.Network().ClosePeer(client.ID())
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
}

// resetsAtEOF is a stream of a point that resets it if the client half-closes it within a second
// of a request, as the original point and those of /rendezvous/1.0.0 in Go do. The reset overtakes
// the answer.
type resetsAtEOF struct {
	network.Stream
	requests *io.PipeReader
}

func newResetsAtEOF(st network.Stream) *resetsAtEOF {
	r, w := io.Pipe()
	go func() {
		buf := make([]byte, 1<<10)
		last := time.Now()
		for {
			n, err := st.Read(buf)
			if n > 0 {
				last = time.Now()
				_, _ = w.Write(buf[:n])
			}
			if errors.Is(err, io.EOF) && time.Since(last) < time.Second {
				_ = st.Reset()
			}
			if err != nil {
				_ = w.CloseWithError(err)
				return
			}
		}
	}()
	return &resetsAtEOF{Stream: st, requests: r}
}

func (s *resetsAtEOF) Read(b []byte) (int, error) { return s.requests.Read(b) }

// Write gives a client time to half-close the stream before it has the answer.
func (s *resetsAtEOF) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.Stream.Write(b)
}

func (s *resetsAtEOF) Close() error {
	_ = s.requests.Close()
	return s.Stream.Close()
}

func (s *resetsAtEOF) ResetWithError(code network.StreamErrorCode) error {
	_ = s.requests.Close()
	return s.Stream.ResetWithError(code)
}

// startPointThatResets serves on h, on streams that are reset at EOF.
func startPointThatResets(t testing.TB, h host.Host, p spoken) {
	t.Helper()
	service := startPoint(t, h, testStorage(t), p.serve...)
	i := service.current()
	for id, dialect := range service.config.served() {
		h.SetStreamHandler(id, func(st network.Stream) { i.handle(newResetsAtEOF(st), dialect) })
	}
}

// TestPointThatResetsAtEOF: no request fails at a point that resets a stream at EOF.
func TestPointThatResetsAtEOF(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		t.Run("QUIC", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { askPointThatResets(t, p, simHosts(t, 3)) })
		})
		t.Run("TCP", func(t *testing.T) {
			askPointThatResets(t, p, []host.Host{newHost(t), newHost(t), newHost(t)})
		})
	})
}

// askPointThatResets makes the first of three hosts a point, and the others its clients.
func askPointThatResets(t *testing.T, p spoken, hosts []host.Host) {
	t.Helper()
	startPointThatResets(t, hosts[0], p)
	named := info(hosts[0])
	registering, searching := p.client(hosts[1], named), p.client(hosts[2], named)
	for _, h := range hosts[1:] {
		connect(t, h, hosts[0])
	}
	for i := range 20 {
		_, err := registering.Register(t.Context(), named.ID, fmt.Sprint("n", i), 0)
		require.NoError(t, err)
	}
	for i := range 20 {
		found, err := searching.Discover(t.Context(), named.ID, fmt.Sprint("n", i), 0)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, hosts[1].ID(), found[0].Peer.ID)
	}
	require.Equal(t, []peer.ID{hosts[1].ID()}, drain(t, searching, "n0"))
	require.NoError(t, searching.SearchErr())
}
