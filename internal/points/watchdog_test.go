package points

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/nat"
)

// natBed is a bed whose client is behind a NAT and a link of its own.
type natBed struct {
	*bed
	nat *nat.NAT
}

func newNATBed(t testing.TB, n, bitsPerSecond int) *natBed {
	t.Helper()
	b := &natBed{bed: newBed(t, n)}
	source, link := simnet.IntToPublicIPv4(100), simnet.LinkSettings{BitsPerSecond: bitsPerSecond}
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/"+source.String()+"/udp/8000/quic-v1"),
		libp2p.DisableIdentifyAddressDiscovery(),
		nat.QUIC(func(addr *net.UDPAddr) net.PacketConn {
			b.nat = nat.New(b.net.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}))
			return b.nat
		}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	b.client = h
	b.set = namedSet(h, infos(b.hosts[:n]...)...)
	return b
}

// probes counts the probes that reach a point.
func probes(h host.Host) *atomic.Int64 {
	var n atomic.Int64
	h.SetStreamHandler(ping.ID, func(st network.Stream) {
		n.Add(1)
		_ = st.Close()
	})
	return &n
}

// requireOpen checks that the client has only this connection to a point.
func (b *bed) requireOpen(t testing.TB, p *Point, c network.Conn) {
	t.Helper()
	require.False(t, c.IsClosed())
	require.Equal(t, []network.Conn{c}, b.client.Network().ConnsToPeer(p.ID()))
}

func (b *bed) conn(t testing.TB, p *Point) network.Conn {
	t.Helper()
	all := b.client.Network().ConnsToPeer(p.ID())
	require.Len(t, all, 1)
	return all[0]
}

// TestDeadConnection: requests on a connection that is dead, on kept streams or on new ones,
// close it and are made again on a new one. No answer is missing for more than three seconds,
// however slow the point was before.
func TestDeadConnection(t *testing.T) {
	for _, row := range []struct {
		name     string
		rest     time.Duration // before the connection dies
		requests int
		delay    time.Duration // of the answers before
	}{
		{"kept stream", time.Second, 1, 0},
		{"new stream", idleTime + time.Second, 1, 0},
		{"many requests", time.Second, 3 * MaxIdleStreams, 0},
		{"slow point", time.Second, 1, 4 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newNATBed(t, 1, 100*simlibp2p.OneMbps)
				p := b.set.Known()[0]
				var delay atomic.Int64
				serveConns(b.hosts[0], func(network.Conn) bool {
					time.Sleep(time.Duration(delay.Load()))
					return true
				})
				for range 3 {
					delay.Store(int64(row.delay))
					sayHellos(t, p, row.requests)
					before := b.conn(t, p)
					time.Sleep(row.rest)
					b.nat.Forget()
					delay.Store(0)
					begun := time.Now()
					sayHellos(t, p, row.requests)
					require.GreaterOrEqual(t, time.Since(begun), probeAfter+minProbeTime)
					require.Less(t, time.Since(begun), 3*time.Second)
					require.True(t, before.IsClosed())
					require.False(t, p.ConnectedSince(time.Now()))
					require.True(t, p.ConnectedSince(begun))
					require.Zero(t, p.backoff)
				}
			})
		})
	}
}

// sayHellos makes n requests at the same time.
func sayHellos(t testing.TB, p *Point, n int) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() { require.NoError(t, sayHello(t.Context(), p)) })
	}
	all.Wait()
}

// echo is a protocol of another service of the point.
const echo protocol.ID = "/echo/1"

// twoWayBed is a bed whose client has two addresses, and a connection to the point over each: they
// dialed each other at the same time, and libp2p keeps both.
type twoWayBed struct {
	*bed
	conns []network.Conn // the older one first
}

func newTwoWayBed(t testing.TB) *twoWayBed {
	t.Helper()
	b := &twoWayBed{bed: newBed(t, 1)}
	point := b.hosts[0]
	serveConns(point, func(network.Conn) bool { return true })
	point.SetStreamHandler(echo, func(st network.Stream) {
		_, _ = io.Copy(st, st)
		_ = st.Close()
	})
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	var listen []ma.Multiaddr
	for i := range 2 {
		listen = append(listen, ma.StringCast("/ip4/"+address(i)+"/udp/8000/quic-v1"))
	}
	h, err := libp2p.New(
		libp2p.ListenAddrs(listen...),
		libp2p.DisableIdentifyAddressDiscovery(),
		simlibp2p.QUICSimnet(b.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link})) // dials from the last address
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	b.client = h
	b.set = namedSet(h, info(point))
	var dials sync.WaitGroup
	dials.Go(func() { require.NoError(t, h.Connect(t.Context(), info(point))) })
	dials.Go(func() {
		require.NoError(t, point.Connect(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: listen[:1]}))
	})
	dials.Wait()
	time.Sleep(time.Second) // until the hosts know each other's protocols
	b.conns = slices.SortedFunc(slices.Values(h.Network().ConnsToPeer(point.ID())), func(c, d network.Conn) int {
		return c.Stat().Opened.Compare(d.Stat().Opened)
	})
	require.Len(t, b.conns, 2)
	require.NotEqual(t, wayOf(t, b.conns[0]), wayOf(t, b.conns[1]))
	return b
}

// firstWay is the number of the first of the client's two addresses.
const firstWay = 100

func address(way int) string { return simnet.IntToPublicIPv4(firstWay + way).String() }

// wayOf returns which of the client's addresses a connection uses.
func wayOf(t testing.TB, c network.Conn) int {
	t.Helper()
	own, err := c.LocalMultiaddr().ValueForProtocol(ma.P_IP4)
	require.NoError(t, err)
	way := slices.Index([]string{address(0), address(1)}, own)
	require.GreaterOrEqual(t, way, 0)
	return way
}

// openEcho opens a stream of the other service on a connection.
func openEcho(t testing.TB, c network.Conn) network.Stream {
	t.Helper()
	st, err := c.NewStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, st.SetProtocol(echo))
	require.NoError(t, multistream.SelectProtoOrFail(echo, st))
	requireEcho(t, st)
	return st
}

func requireEcho(t testing.TB, st network.Stream) {
	t.Helper()
	require.NoError(t, st.SetDeadline(time.Now().Add(time.Second)))
	_, err := st.Write([]byte("hello"))
	require.NoError(t, err)
	var b [5]byte
	_, err = io.ReadFull(st, b[:])
	require.NoError(t, err)
	require.Equal(t, "hello", string(b[:]))
}

// TestOneOfTwoConnectionsDies: the client has two connections to the point, and the one that its
// requests use dies. Only that one is closed. The other is used instead, and its streams of other
// protocols go on.
func TestOneOfTwoConnectionsDies(t *testing.T) {
	for _, row := range []struct {
		name    string
		rest    time.Duration // before the connection dies
		unknown bool          // whether the client does not know the point's protocols
	}{
		{"kept stream", time.Second, false},
		{"new stream", idleTime + time.Second, false},
		{"new stream that waits for the choice of a protocol", idleTime + time.Second, true},
	} {
		for i, which := range []string{"the older one", "the newer one"} {
			t.Run(which+", "+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newTwoWayBed(t)
					p := b.set.Known()[0]
					dies, lives := b.conns[i], b.conns[1-i]
					openEcho(t, dies)
					openEcho(t, dies) // libp2p prefers the connection with more streams
					require.NoError(t, sayHello(t.Context(), p))
					require.Equal(t, 1, streamsOn(dies))
					other := openEcho(t, lives)
					time.Sleep(row.rest)
					if row.unknown {
						require.NoError(t, b.client.Peerstore().SetProtocols(p.ID()))
					}
					b.unplug(firstWay+wayOf(t, dies), true)
					begun := time.Now()
					err := sayHello(t.Context(), p)
					took := time.Since(begun)
					require.True(t, dies.IsClosed())
					b.requireOpen(t, p, lives)
					requireEcho(t, other)
					require.NoError(t, err)
					require.GreaterOrEqual(t, took, probeAfter+minProbeTime)
					require.Less(t, took, 3*time.Second)
					require.Equal(t, 1, streamsOn(lives))
					require.Zero(t, p.backoff)
				})
			})
		}
	}
}

// TestConnectionDiesWhileAPointIsSlow: the connection answers a probe, and dies after that.
func TestConnectionDiesWhileAPointIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newNATBed(t, 1, 100*simlibp2p.OneMbps)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		b.behave(func(st network.Stream, r *bufio.Reader) {
			time.Sleep(4 * time.Second)
			answering(yes)(st, r)
		}, p)
		before := b.conn(t, p)
		died := time.Now().Add(2 * probeAfter)
		time.AfterFunc(2*probeAfter, func() {
			b.behave(answering(yes), p)
			b.nat.Forget()
		})
		require.NoError(t, sayHello(t.Context(), p))
		require.Less(t, time.Since(died), 3*time.Second)
		require.True(t, before.IsClosed())
		time.Sleep(4 * time.Second) // until the point has ended
	})
}

// TestLateAnswers: a point lets many requests wait for almost as long as they may take. The
// connection stays, the requests succeed, and they share one probe for each second of probeAfter.
func TestLateAnswers(t *testing.T) {
	for name, rest := range map[string]time.Duration{"kept streams": time.Second, "new streams": idleTime + time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 1)
				p := b.set.Known()[0]
				probed := probes(b.hosts[0])
				var delay atomic.Int64
				serveConns(b.hosts[0], func(network.Conn) bool {
					time.Sleep(time.Duration(delay.Load()))
					return true
				})
				sayHellos(t, p, MaxIdleStreams)
				before := b.conn(t, p)
				time.Sleep(rest)
				delay.Store(int64(4500 * time.Millisecond))
				for range 3 {
					sayHellos(t, p, MaxIdleStreams)
					b.requireOpen(t, p, before)
				}
				require.Zero(t, p.backoff)
				require.LessOrEqual(t, probed.Load(), int64(3*4))
				require.GreaterOrEqual(t, probed.Load(), int64(3*3))
				require.Equal(t, MaxIdleStreams, b.streams(p), "they are good")
			})
		})
	}
}

// TestNoPing: a point that does not serve libp2p's ping says so, and so the connection lives.
func TestNoPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		before := b.conn(t, p)
		b.hosts[0].RemoveStreamHandler(ping.ID)
		b.behave(func(st network.Stream, r *bufio.Reader) {
			time.Sleep(4 * time.Second)
			answering(yes)(st, r)
		}, p)
		require.NoError(t, sayHello(t.Context(), p))
		b.requireOpen(t, p, before)
	})
}

// TestIgnoredRequests: a point that answers probes and no requests is given up in time, and
// left alone for longer and longer.
func TestIgnoredRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		before := b.conn(t, p)
		b.behave(silent, p)
		var asked atomic.Int64
		serveConns(b.hosts[0], func(network.Conn) bool { asked.Add(1); return false })
		for i := range goneAfter {
			begun := time.Now()
			require.ErrorIs(t, sayHello(t.Context(), p), context.DeadlineExceeded)
			require.LessOrEqual(t, time.Since(begun), requestTimeout)
			require.True(t, p.inBackoff())
			require.Equal(t, int64(1+i), asked.Load())
			time.Sleep(maxBackoff)
		}
		require.True(t, p.Gone())
		b.requireOpen(t, p, before)
		require.Zero(t, b.streams(p))
	})
}

// TestDeafPoint: what comes on one stream shows that the connection lives, even if the other side
// does not answer the probe because it is busy.
func TestDeafPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		var first atomic.Bool
		serveConns(b.hosts[0], func(network.Conn) bool {
			if first.CompareAndSwap(true, false) {
				time.Sleep(4 * time.Second)
			}
			return true
		})
		sayHellos(t, p, 2)
		before := b.conn(t, p)
		b.hosts[0].Network().SetStreamHandler(func(network.Stream) {}) // no new stream is answered
		ctx, cancel := context.WithCancel(t.Context())
		first.Store(true)
		late := make(chan error)
		go func() { late <- sayHello(ctx, p) }()
		time.Sleep(100 * time.Millisecond)
		for range 6 {
			require.NoError(t, sayHello(ctx, p))
			time.Sleep(600 * time.Millisecond)
		}
		require.NoError(t, <-late)
		cancel()
		b.requireOpen(t, p, before)
	})
}

// TestLateAnswerOnASlowLink: long answers fill a slow link while the point lets another request
// wait on the same connection.
func TestLateAnswerOnASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newNATBed(t, 1, simlibp2p.OneMbps)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		before := b.conn(t, p)
		time.Sleep(time.Second)
		const size = 200 << 10
		long := append([]byte{0x80, 0xc0, 0x0c}, make([]byte, size)...) // the length, and that many bytes
		var asked atomic.Int64
		b.behave(func(st network.Stream, r *bufio.Reader) {
			if asked.Add(1) <= 2 {
				_, _ = st.Write(long)
				return
			}
			time.Sleep(4500 * time.Millisecond)
			answering(yes)(st, r)
		}, p)
		begun := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				r := hello()
				r.MaxAnswer = size
				r.Read = func([]byte, protocol.ID) error { return nil }
				require.NoError(t, p.RoundTrip(t.Context(), r))
				require.Greater(t, time.Since(begun), 2*time.Second, "the link is slow")
			})
		}
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, sayHello(t.Context(), p))
		all.Wait()
		b.requireOpen(t, p, before)
	})
}

// TestBatchesAtASlowPoint: a point that is slow in the middle of batches loses no connection, and
// gets batches again after a while.
func TestBatchesAtASlowPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		var stalled atomic.Bool
		var requests atomic.Int64
		serveConns(b.hosts[0], func(network.Conn) bool {
			if requests.Add(1) == 3 && stalled.Load() {
				time.Sleep(4 * time.Second)
			}
			return true
		})
		require.NoError(t, sayHello(t.Context(), p))
		before := b.conn(t, p)
		five := []Request{hello(), hello(), hello(), hello(), hello()}
		together := func() (made int) {
			requests.Store(0)
			p.answerTime = 0 // so that it gets a batch again
			for _, err := range p.RoundTrips(t.Context(), five) {
				if err == nil {
					made++
				} else {
					require.ErrorIs(t, err, ErrNotAnswered)
				}
			}
			time.Sleep(10 * time.Second)
			return made
		}
		stalled.Store(true)
		for range maxBrokenBatches {
			require.NoError(t, sayHello(t.Context(), p)) // keeps a stream
			require.Equal(t, 2, together())
		}
		stalled.Store(false)
		require.Equal(t, 1, together())
		time.Sleep(noBatchTime)
		require.Equal(t, 5, together())
		require.Zero(t, p.brokenBatches)
		b.requireOpen(t, p, before)
	})
}

// TestStreamsAreKeptAfterTimeouts: a point that answered nobody for a while had no broken streams.
func TestStreamsAreKeptAfterTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		var busy atomic.Int64
		serveConns(b.hosts[0], func(network.Conn) bool {
			time.Sleep(time.Duration(busy.Load()))
			return true
		})
		sayHellos(t, p, MaxIdleStreams)
		busy.Store(int64(2 * requestTimeout))
		var all sync.WaitGroup
		for range MaxIdleStreams {
			all.Go(func() { require.ErrorIs(t, sayHello(t.Context(), p), context.DeadlineExceeded) })
		}
		all.Wait()
		busy.Store(0)
		require.NoError(t, sayHello(t.Context(), p))
		require.Equal(t, 1, b.streams(p))
		time.Sleep(2 * requestTimeout)
	})
}
