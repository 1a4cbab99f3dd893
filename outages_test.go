package rendezvous

// Outages of points and networks, in virtual time where that can show them, and else over
// real connections.

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	relayclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/nat"
)

// unreachable is a socket that fails at once while down is true, as if there were no network.
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

// addedHost is the number of the host that is added to a simulation.
const addedHost = 100

// addHost adds a host with go-libp2p's own resource manager and dialer to a simulation of
// fewer than 100 hosts. Unless it is nil, wrap is called for the host's socket.
func (s *simulation) addHost(t testing.TB, wrap func(net.PacketConn) net.PacketConn, opts ...libp2p.Option) host.Host {
	t.Helper()
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	listen := func(addr *net.UDPAddr) net.PacketConn {
		socket := s.net.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link})
		if wrap == nil {
			return socket
		}
		return wrap(socket)
	}
	opts = append([]libp2p.Option{
		libp2p.ListenAddrStrings("/ip4/" + simnet.IntToPublicIPv4(addedHost).String() + "/udp/8000/quic-v1"),
		libp2p.DisableIdentifyAddressDiscovery(),
		nat.QUIC(listen),
	}, opts...)
	h, err := libp2p.New(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// addHostBehindNAT adds a host whose NAT forgets connections when it is told to.
func (s *simulation) addHostBehindNAT(t testing.TB) (h host.Host, router *nat.NAT) {
	t.Helper()
	h = s.addHost(t, func(c net.PacketConn) net.PacketConn {
		router = nat.New(c)
		return router
	})
	return h, router
}

// awaitLive returns after how long each of some storages has a registration in ns.
func awaitLive(t testing.TB, ns string, storages ...Storage) time.Duration {
	t.Helper()
	lacks := func(s Storage) bool { return live(t, s, ns) == 0 }
	begun := time.Now()
	for slices.ContainsFunc(storages, lacks) && time.Since(begun) < 10*time.Minute {
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begun)
}

// TestSimulationNetworkUnreachable: for thirty seconds, everything that the host sends fails at once.
// Its attempts stay few meanwhile. They do not use up libp2p's own limit of new connections, and
// the host is registered soon after.
func TestSimulationNetworkUnreachable(t *testing.T) { inEachProtocol(t, testNetworkUnreachable) }

func testNetworkUnreachable(t *testing.T, p spoken) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts, p.serve...)
		var down atomic.Bool
		h := sim.addHost(t, func(c net.PacketConn) net.PacketConn { return unreachable{c, &down} })
		ended := new(endedRequests)
		c := NewClient(h, WithPoints(infos...), p.speak, WithClientMetricsTracer(ended))
		ctx, cancel := context.WithCancel(t.Context())
		all := namespaces(10)
		states, err := c.KeepRegistered(ctx, all...)
		require.NoError(t, err)
		searched := searchAll(ctx, c, all)
		defer func() {
			cancel()
			searched()
			for range states { // until all goroutines have ended
			}
		}()
		for range 3 {
			time.Sleep(20 * time.Second)
			require.Equal(t, len(all), registeredIn(t, h.ID(), all, storages))
			ended.take()
			down.Store(true)
			time.Sleep(30 * time.Second)
			tried := ended.take()
			for _, s := range storages { // over 1.0.0, registrations live for hours; so the points lose them
				for _, ns := range all {
					require.NoError(t, s.(Pager).Remove(ctx, ns, h.ID()))
				}
			}
			down.Store(false)
			back := time.Now()
			for registeredIn(t, h.ID(), all, storages) < len(all) && time.Since(back) < time.Minute {
				time.Sleep(50 * time.Millisecond)
			}
			took := time.Since(back)
			refused := 0 // by the host's own limit of new connections
			for _, e := range slices.Concat(tried, ended.take()) {
				if e.Err != nil && strings.Contains(e.Err.Error(), "rate limit exceeded") {
					refused++
				}
			}
			t.Logf("no network for 30 s: %d requests, %d refused by the limit of connections; registered everywhere after %v", len(tried), refused, took)
			require.LessOrEqual(t, took, 15*time.Second)
			require.Zero(t, refused)
			require.LessOrEqual(t, len(tried), 300)
		}
	})
}

// TestSimulationPointBehindRelay: a point that is reached through a relay only is out of reach for half
// an hour, with its relay. The host registers again soon after they are back. Until then, the
// state says why the relay cannot be reached.
func TestSimulationPointBehindRelay(t *testing.T) {
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
				h := sim.addHost(t, nil, opts...)
				circuit := ma.StringCast(relayHost.Addrs()[0].String() + "/p2p/" + relayHost.ID().String() + "/p2p-circuit")
				states := keep(t, NewClient(h, WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{circuit}})))
				until(t, states, 10*time.Second, State.Findable)
				for range scaled(3, 1) {
					sim.unplug(0, true)
					time.Sleep(30 * time.Minute)
					gone := until(t, states, time.Minute, func(s State) bool { return s.Namespaces[0].Err != nil })
					t.Logf("while it is gone: %v", gone.Namespaces[0].Err)
					require.ErrorContains(t, gone.Namespaces[0].Err, "its relay "+relayHost.ID().String()+" is not connected")
					require.Regexp(t, "(context deadline exceeded|no recent network activity)", gone.Namespaces[0].Err.Error(), "why the dial failed")
					require.Zero(t, live(t, s, "n"))
					sim.unplug(0, false)
					reserve()
					took := awaitLive(t, "n", s)
					t.Logf("a point behind a relay, away for 30 minutes: registered again after %v", took)
					require.LessOrEqual(t, took, 20*time.Second)
					until(t, states, time.Minute, State.Findable)
				}
			})
		})
	}
}

// TestSimulationPointsAwayForLong: points with QUIC addresses only are out of reach for half an hour.
// libp2p takes UDP for blocked then. The host registers again at both soon after they are back.
func TestSimulationPointsAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 2, 10*time.Millisecond)
		infos, storages := storagesOf(t, sim.hosts)
		h := sim.addHost(t, nil)
		states := keep(t, NewClient(h, WithPoints(infos...)))
		until(t, states, 5*time.Second, State.Findable)
		for range scaled(3, 1) {
			sim.unplug(0, true)
			sim.unplug(1, true)
			time.Sleep(30 * time.Minute)
			for _, s := range storages {
				require.Zero(t, live(t, s, "n"))
			}
			sim.unplug(0, false)
			sim.unplug(1, false)
			took := awaitLive(t, "n", storages...)
			t.Logf("points away for 30 minutes, QUIC only: registered again at both after %v", took)
			require.LessOrEqual(t, took, 15*time.Second)
			time.Sleep(time.Minute)
		}
	})
}

// rememberedAddrs announces the addresses that a host had up to a minute ago, as a host does that
// listens on all interfaces: it remembers their addresses for that long.
type rememberedAddrs struct {
	mu      sync.Mutex
	addrs   []ma.Multiaddr
	changed time.Time // when the host's addresses became others than addrs; zero: they are the same
}

func (r *rememberedAddrs) announce(now []ma.Multiaddr) []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := slices.EqualFunc(r.addrs, now, ma.Multiaddr.Equal)
	switch {
	case !same && r.changed.IsZero():
		r.changed = time.Now()
	case same:
		r.changed = time.Time{}
	}
	if len(r.addrs) == 0 || !same && time.Since(r.changed) >= time.Minute {
		r.addrs, r.changed = slices.Clone(now), time.Time{}
	}
	return slices.Clone(r.addrs)
}

// TestSimulationInterfaceChange: a host moves, and goes on to announce its old address for a
// minute, which nobody can reach any more. It is found at the new one, which the kernel says.
func TestSimulationInterfaceChange(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 100*time.Millisecond)
			infos, _ := storagesOf(t, sim.hosts[:2], p.serve...)
			mover := sim.addHost(t, nil, libp2p.AddrsFactory(new(rememberedAddrs).announce))
			var at atomic.Int64 // the number of its address
			at.Store(addedHost)
			c := NewClient(mover, WithPoints(infos...), p.speak, func(c *clientConfig) error {
				c.interfaces = func() ([]net.Addr, error) {
					return []net.Addr{&net.IPNet{IP: simnet.IntToPublicIPv4(int(at.Load())), Mask: net.CIDRMask(24, 32)}}, nil
				}
				return nil
			})
			keep(t, c)
			d := p.client(sim.hosts[2], infos...)
			for i := range 3 {
				time.Sleep(2 * time.Minute) // until the host announces where it is
				before := mover.Addrs()
				require.Len(t, before, 1)
				require.Contains(t, mover.Network().ListenAddresses(), before[0])
				to := ma.StringCast("/ip4/" + simnet.IntToPublicIPv4(1000+i).String() + "/udp/8000/quic-v1")
				require.NoError(t, mover.Network().Listen(to))
				mover.Network().(interface{ ListenClose(...ma.Multiaddr) }).ListenClose(before...)
				sim.unplug(int(at.Swap(int64(1000+i))), true)
				took := untilFoundAt(t.Context(), t, d, "n", to)
				t.Logf("found at the new address after %v", took)
				require.LessOrEqual(t, took, 15*time.Second)
				require.Equal(t, before, mover.Addrs())
			}
		})
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
// uses a kept stream or opens one, as a new client does.
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
	client := func() *Client {
		return NewClient(h, WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: []ma.Multiaddr{through}}))
	}
	c := client()
	_, err = c.Register(t.Context(), point.ID(), "n", 0)
	require.NoError(t, err)
	const bar = 3 * time.Second
	var shortest [2]time.Duration // with a kept stream and without, because a busy machine may take longer
	for i := 0; i < 2 || slices.Max(shortest[:]) > bar && i < 20; i++ {
		dead := h.Network().ConnsToPeer(point.ID())
		require.Len(t, dead, 1)
		if i%2 == 1 {
			c = client() // which keeps no stream
		}
		proxy.freeze()
		begun := time.Now()
		_, err = c.Register(t.Context(), point.ID(), "n", 0)
		require.NoError(t, err)
		took := time.Since(begun)
		t.Logf("a dead TCP connection: a request was answered after %v", took)
		if s := &shortest[i%2]; *s == 0 || took < *s {
			*s = took
		}
		require.True(t, dead[0].IsClosed())
	}
	require.LessOrEqual(t, slices.Max(shortest[:]), bar, "libp2p would need half a minute")
}

// TestRegisteredOverDeadConnections: a NAT forgets the connection to the point at every moment
// between two refreshes. The host stays registered, whether or not libp2p knows.
func TestRegisteredOverDeadConnections(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 1, 10*time.Millisecond)
			storage := testStorage(t)
			startPoint(t, sim.hosts[0], storage, p.serve...)
			h, router := sim.addHostBehindNAT(t)
			states := keep(t, p.client(h, info(sim.hosts[0])))
			until(t, states, time.Second, State.Findable)
			var longest time.Duration
			for i := range 13 {
				time.Sleep(time.Duration(i) * time.Second)
				dead := h.Network().ConnsToPeer(sim.hosts[0].ID())
				require.Len(t, dead, 1)
				router.Forget()
				var absent time.Duration
				for forgotten := time.Now(); time.Since(forgotten) < 90*time.Second; time.Sleep(50 * time.Millisecond) {
					if live(t, storage, "n") == 1 {
						absent = 0
					} else {
						absent += 50 * time.Millisecond
					}
					longest = max(longest, absent)
				}
				require.True(t, dead[0].IsClosed())
			}
			t.Logf("the connection to the point dies: unregistered for %v", longest)
			require.LessOrEqual(t, longest, 3*time.Second)
		})
	})
}

// TestSleepWithADeadConnection: the connection to the point has died while the machine slept.
func TestSleepWithADeadConnection(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 1, 10*time.Millisecond)
			storage := testStorage(t)
			startPoint(t, sim.hosts[0], storage, p.serve...)
			h, router := sim.addHostBehindNAT(t)
			var slept atomic.Int64
			c := NewClient(h, WithPoints(info(sim.hosts[0])), p.speak, func(c *clientConfig) error {
				c.wallClock = func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) }
				return nil
			})
			states := keep(t, c)
			until(t, states, time.Second, State.Findable)
			for range 3 {
				time.Sleep(5 * time.Second)
				router.Forget()
				slept.Add(int64(time.Hour))
				woke := time.Now()
				until(t, states, 3*time.Second, func(s State) bool { return s.Namespaces[0].Points[0].Until.After(woke.Add(DefaultTTL)) })
				require.Equal(t, 1, live(t, storage, "n"))
			}
		})
	})
}

// stallingStorage is a storage that lets all calls wait for a while.
type stallingStorage struct {
	Storage
	until atomic.Pointer[time.Time]
}

func (s *stallingStorage) Add(ctx context.Context, r Record, q Quota) error {
	s.wait()
	return s.Storage.Add(ctx, r, q)
}

func (s *stallingStorage) Sample(ctx context.Context, ns string, n, maxBytes int) ([]Record, error) {
	s.wait()
	return s.Storage.Sample(ctx, ns, n, maxBytes)
}

func (s *stallingStorage) wait() {
	if until := s.until.Load(); until != nil {
		time.Sleep(time.Until(*until))
	}
}

// TestStorageStall: a point's storage stalls for four seconds. Its clients wait for their
// answers, and none of them takes its connection for dead.
func TestStorageStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, stall = 20, 4 * time.Second
		sim := newSimulation(t, 1+clients, 10*time.Millisecond)
		point := sim.hosts[0]
		storage := &stallingStorage{Storage: testStorage(t)}
		startPoint(t, point, storage)
		var before []network.Conn
		var all []*Client
		for _, h := range sim.hosts[1:] {
			c := NewClient(h, WithPoints(info(point)))
			_, err := c.Register(t.Context(), point.ID(), "n", 0)
			require.NoError(t, err)
			all = append(all, c)
			before = append(before, h.Network().ConnsToPeer(point.ID())...)
		}
		require.Len(t, before, clients)
		for range 3 {
			time.Sleep(time.Second)
			begun := time.Now()
			until := begun.Add(stall)
			storage.until.Store(&until)
			var running sync.WaitGroup
			for _, c := range all {
				running.Go(func() {
					_, err := c.Register(t.Context(), point.ID(), "n", 0)
					require.NoError(t, err)
				})
				running.Go(func() {
					found, err := c.Discover(t.Context(), point.ID(), "n", clients)
					require.NoError(t, err) // a larger sample would be declined after a while
					require.Len(t, found, clients)
				})
			}
			running.Wait()
			require.GreaterOrEqual(t, time.Since(begun), stall)
			for i, c := range before {
				require.False(t, c.IsClosed())
				require.Len(t, sim.hosts[1+i].Network().ConnsToPeer(point.ID()), 1)
			}
		}
	})
}

func proxyPort(t testing.TB, p *freezingProxy) string {
	t.Helper()
	_, port, err := net.SplitHostPort(p.Addr().String())
	require.NoError(t, err)
	return port
}
