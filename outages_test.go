package rendezvous

// Outages of points and networks, in virtual time where that can show them, and else over
// real connections.

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	relayclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
)

// unreachable is a socket that fails at once while there is no network.
type unreachable struct {
	net.PacketConn
	down *atomic.Bool
}

func (u unreachable) WriteTo(b []byte, to net.Addr) (int, error) {
	if u.down.Load() {
		return 0, syscall.ENETUNREACH
	}
	return u.PacketConn.WriteTo(b, to)
}

// fixedSource always leaves from one address.
type fixedSource net.IP

func (s fixedSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(s), nil
}

// addedHost is the number of the host that is added to a simulation.
const addedHost = 100

// addHost adds a host with go-libp2p's own resource manager and dialer to a simulation of
// fewer than 100 hosts. While down is true, it has no network: everything that it sends
// fails at once.
func (s *simulation) addHost(t testing.TB, down *atomic.Bool, opts ...libp2p.Option) host.Host {
	t.Helper()
	source := simnet.IntToPublicIPv4(addedHost)
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	reuse := []quicreuse.Option{
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return fixedSource(source), nil }),
		quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
			return unreachable{s.net.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), down}, nil
		}),
	}
	opts = append([]libp2p.Option{
		libp2p.ListenAddrStrings("/ip4/" + source.String() + "/udp/8000/quic-v1"),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			m, err := quicreuse.NewConnManager(reset, token, opts...)
			if err == nil {
				l.Append(fx.StopHook(m.Close))
			}
			return m, err
		}, reuse...),
	}, opts...)
	h, err := libp2p.New(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// awaitLive returns after how long a storage has a registration in ns.
func awaitLive(t testing.TB, s Storage, ns string) time.Duration {
	t.Helper()
	begun := time.Now()
	for live(t, s, ns) == 0 && time.Since(begun) < 10*time.Minute {
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begun)
}

// TestNetworkUnreachable: for thirty seconds, everything that the host sends fails at once.
// It does not use up libp2p's own limit of new connections meanwhile, and is registered
// soon after.
func TestNetworkUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts)
		var down atomic.Bool
		h := sim.addHost(t, &down)
		c := NewClient(h, WithPoints(infos...))
		ctx, cancel := context.WithCancel(t.Context())
		all := namespaces(10)
		states, err := c.KeepRegistered(ctx, all...)
		require.NoError(t, err)
		var searching sync.WaitGroup
		for _, ns := range all {
			searching.Go(func() {
				for ctx.Err() == nil {
					if found, err := c.FindPeers(ctx, ns); err == nil {
						for range found { // until the search has ended
						}
					}
					time.Sleep(time.Second)
				}
			})
		}
		for range 3 {
			time.Sleep(20 * time.Second)
			require.Equal(t, len(all), registeredIn(t, h.ID(), all, storages))
			down.Store(true)
			time.Sleep(30 * time.Second)
			require.Zero(t, registeredIn(t, h.ID(), all, storages))
			down.Store(false)
			back := time.Now()
			for registeredIn(t, h.ID(), all, storages) < len(all) && time.Since(back) < time.Minute {
				time.Sleep(50 * time.Millisecond)
			}
			t.Logf("no network for 30 s: registered everywhere after %v", time.Since(back))
			require.LessOrEqual(t, time.Since(back), 15*time.Second)
		}
		cancel()
		searching.Wait()
		for range states { // until all goroutines have ended
		}
	})
}

// TestPointBehindRelay: a point that is reached through a relay only is out of reach for half
// an hour, with its relay. The host registers again soon after they are back. Until then, the
// state says why the relay cannot be reached.
func TestPointBehindRelay(t *testing.T) {
	for name, opts := range map[string][]libp2p.Option{
		"default":                {},
		"no black hole detector": {libp2p.UDPBlackHoleSuccessCounter(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, 2, 10*time.Millisecond)
				relayHost, point := sim.hosts[0], sim.hosts[1]
				service, err := relay.New(relayHost)
				require.NoError(t, err)
				defer service.Close()
				s := testStorage(t)
				startPoint(t, point, s)
				reserve := func() {
					_ = point.Network().ClosePeer(relayHost.ID())
					_, err := relayclient.Reserve(t.Context(), point, info(relayHost))
					require.NoError(t, err)
				}
				reserve()
				sim.separate(1, addedHost)
				h := sim.addHost(t, new(atomic.Bool), opts...)
				circuit := ma.StringCast(relayHost.Addrs()[0].String() + "/p2p/" + relayHost.ID().String() + "/p2p-circuit")
				states := keep(t, NewClient(h, WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{circuit}})))
				until(t, states, 10*time.Second, State.Findable)
				sim.unplug(0, true)
				time.Sleep(30 * time.Minute)
				gone := until(t, states, time.Minute, func(s State) bool { return s.Namespaces[0].Err != nil })
				t.Logf("while it is gone: %v", gone.Namespaces[0].Err)
				require.ErrorContains(t, gone.Namespaces[0].Err, "its relay "+relayHost.ID().String())
				require.ErrorContains(t, gone.Namespaces[0].Err, "open stream", "and what went wrong with the dial")
				require.Zero(t, live(t, s, "n"))
				sim.unplug(0, false)
				reserve()
				took := awaitLive(t, s, "n")
				t.Logf("a point behind a relay, away for 30 minutes: registered again after %v", took)
				require.LessOrEqual(t, took, 20*time.Second)
			})
		})
	}
}

// TestPointsAwayForLong: points with QUIC addresses only are out of reach for half an hour.
// libp2p takes UDP for blocked then. The host registers again soon after they are back.
func TestPointsAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts)
		h := sim.addHost(t, new(atomic.Bool))
		states := keep(t, NewClient(h, WithPoints(infos...)))
		until(t, states, 5*time.Second, State.Findable)
		for range scaled(3, 1) {
			sim.unplug(0, true)
			sim.unplug(1, true)
			time.Sleep(30 * time.Minute)
			require.Zero(t, live(t, storages[0], "n"))
			sim.unplug(0, false)
			sim.unplug(1, false)
			took := awaitLive(t, storages[0], "n")
			t.Logf("points away for 30 minutes, QUIC only: registered again after %v", took)
			require.LessOrEqual(t, took, 15*time.Second)
			time.Sleep(time.Minute)
		}
	})
}

// freezingProxy forwards TCP connections to a host until it is told to let those die that
// there are: it then swallows what they carry, and forwards only newer ones.
type freezingProxy struct {
	net.Listener
	to string

	mu     sync.Mutex
	frozen chan struct{} // closed when the connections of now freeze
}

func newFreezingProxy(t testing.TB, to string) *freezingProxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &freezingProxy{Listener: l, to: to, frozen: make(chan struct{})}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.forward(ctx, c) })
		}
	})
	return p
}

func (p *freezingProxy) forward(ctx context.Context, c net.Conn) {
	defer c.Close()
	out, err := new(net.Dialer).DialContext(ctx, "tcp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = c.Close()
		_ = out.Close()
	})
	defer stop()
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, out}, {out, c}} {
		both.Go(func() { _, _ = io.Copy(thawed{way[1], frozen}, way[0]) })
	}
	both.Wait()
}

// thawed swallows what is written once it is frozen.
type thawed struct {
	io.Writer
	frozen <-chan struct{}
}

func (w thawed) Write(b []byte) (int, error) {
	select {
	case <-w.frozen:
		return len(b), nil
	default:
		return w.Writer.Write(b)
	}
}

// freeze lets the present connections die without a word.
func (p *freezingProxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

// TestDeadTCPConnection: a TCP connection dies without a word, and libp2p goes on to say that
// the host is connected for half a minute. The next request goes over a new one, whether it
// uses a kept stream or opens one.
func TestDeadTCPConnection(t *testing.T) {
	// The point tells nobody its address, so that no connection goes past the proxy.
	point := newHost(t, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return nil }))
	startPoint(t, point, testStorage(t))
	listening := point.Network().ListenAddresses()
	at := slices.IndexFunc(listening, func(a ma.Multiaddr) bool { return a.Protocols()[0].Code == ma.P_IP4 })
	require.GreaterOrEqual(t, at, 0)
	port, err := listening[at].ValueForProtocol(ma.P_TCP)
	require.NoError(t, err)
	proxy := newFreezingProxy(t, "127.0.0.1:"+port)
	h := newHost(t)
	through := ma.StringCast("/ip4/127.0.0.1/tcp/" + proxyPort(t, proxy))
	c := NewClient(h, WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{through}}))
	_, err = c.Register(t.Context(), point.ID(), "n", 0)
	require.NoError(t, err)
	for range 2 {
		dead := h.Network().ConnsToPeer(point.ID())
		require.Len(t, dead, 1)
		proxy.freeze()
		begun := time.Now()
		_, err = c.Register(t.Context(), point.ID(), "n", 0)
		require.NoError(t, err)
		t.Logf("a dead TCP connection: a request was answered after %v", time.Since(begun))
		require.Less(t, time.Since(begun), requestLimit, "libp2p would need half a minute")
		require.True(t, dead[0].IsClosed())
	}
}

// requestLimit is the longest that a request may take on a busy machine.
const requestLimit = 5 * time.Second

func proxyPort(t testing.TB, p *freezingProxy) string {
	t.Helper()
	_, port, err := net.SplitHostPort(p.Addr().String())
	require.NoError(t, err)
	return port
}
