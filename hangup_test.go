package rendezvous

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
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
// registered in two namespaces and searches them each second.
type load struct{ registers, discovers, bad int64 }

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
		var asked atomic.Int64
		c := p.client(h, info(honest))
		if annoy != nil {
			for _, id := range []protocol.ID{RendezvousID_v001, StandardID} {
				bad.SetStreamHandler(id, func(st network.Stream) {
					_, _ = st.Read(make([]byte, 1))
					asked.Add(1)
					_ = st.Conn().Close()
				})
			}
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
		before := load{served.registers.Load(), served.discovers.Load(), asked.Load()}
		time.Sleep(loadTime)
		l = load{served.registers.Load() - before.registers, served.discovers.Load() - before.discovers, asked.Load() - before.bad}
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
		for what, annoy := range map[string]func(ctx context.Context, bad, client host.Host){
			"hangs up": func(ctx context.Context, _, _ host.Host) { <-ctx.Done() },
			"reconnects": func(ctx context.Context, bad, client host.Host) {
				for ctx.Err() == nil {
					_ = bad.Connect(ctx, info(client))
					time.Sleep(2 * time.Second)
					_ = bad.Network().ClosePeer(client.ID())
					time.Sleep(100 * time.Millisecond)
				}
			},
		} {
			beside := loadBeside(t, p, annoy)
			t.Logf("beside one that %s: %+v", what, beside)
			require.LessOrEqual(t, float64(beside.registers), 1.3*float64(alone.registers))
			require.LessOrEqual(t, float64(beside.discovers), 1.3*float64(alone.discovers))
			require.Positive(t, beside.bad)
			// An attempt every 4.5 to 6 seconds and one more every 5 seconds if the point connects,
			// of two requests each if it closes a connection that was there before.
			require.LessOrEqual(t, beside.bad, int64(loadTime/(1500*time.Millisecond)), "it is left alone")
		}
	})
}
