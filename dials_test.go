package rendezvous

// The dials that requests make at points with several addresses, in virtual time.

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// way says what becomes of the dials of a transport.
type way string

const (
	open    way = "open"
	refused way = "refused" // each fails at once
	silent  way = "silent"  // each ends when its caller gives up
	slow    way = "slow"    // each takes as long as a handshake on a slow network
)

// dialer has the transports of a host, and records its dials. Simulated networks have no TCP, so
// connections over TCP are really made over QUIC.
type dialer struct {
	quic transport.Transport
	tcp  map[peer.ID]ma.Multiaddr // where connections over TCP really go

	mu    sync.Mutex
	ways  map[string]way
	dials map[peer.ID][]string // the transports, in the order of the dials
}

func newDialer() *dialer {
	return &dialer{
		tcp:   make(map[peer.ID]ma.Multiaddr),
		ways:  map[string]way{"TCP": open, "QUIC": open},
		dials: make(map[peer.ID][]string),
	}
}

// Addresses of TCP. Which ones does not matter, except that libp2p counts failures over IPv6 too.
const (
	tcp4 = "/ip4/9.9.9.9/tcp/8000"
	tcp6 = "/ip6/2620:fe::9/tcp/8000"
)

// withTCP returns a point's addresses, and one of TCP.
func (d *dialer) withTCP(h host.Host, addr string) peer.AddrInfo {
	both := info(h)
	d.tcp[h.ID()] = both.Addrs[0]
	both.Addrs = append(both.Addrs, ma.StringCast(addr))
	return both
}

// options gives the transports to a host.
func (d *dialer) options() []libp2p.Option {
	quic := func(key crypto.PrivKey, m *quicreuse.ConnManager, psk pnet.PSK, gater connmgr.ConnectionGater, limits network.ResourceManager) (*countedQUIC, error) {
		t, err := libp2pquic.NewTransport(key, m, psk, gater, limits)
		d.quic = t
		return &countedQUIC{t, d}, err
	}
	return []libp2p.Option{libp2p.Transport(quic), libp2p.Transport(func() *countedTCP { return &countedTCP{d} })}
}

func (d *dialer) set(tcp, quic way) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ways["TCP"], d.ways["QUIC"] = tcp, quic
}

// take returns the transports of the dials of a peer since it was last called.
func (d *dialer) take(p peer.ID) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	dials := d.dials[p]
	delete(d.dials, p)
	return dials
}

func (d *dialer) dial(ctx context.Context, over string, a ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	d.mu.Lock()
	w := d.ways[over]
	d.dials[p] = append(d.dials[p], over)
	d.mu.Unlock()
	switch w {
	case refused:
		return nil, syscall.ECONNREFUSED
	case silent:
		<-ctx.Done()
		return nil, ctx.Err()
	case slow:
		select {
		case <-time.After(3500 * time.Millisecond):
			return d.quic.Dial(ctx, a, p)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	default:
		return d.quic.Dial(ctx, a, p)
	}
}

// countedQUIC is QUIC.
type countedQUIC struct {
	transport.Transport
	dialer *dialer
}

func (t *countedQUIC) Dial(ctx context.Context, a ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	return t.dialer.dial(ctx, "QUIC", a, p)
}

// countedTCP stands for TCP.
type countedTCP struct{ dialer *dialer }

func (t *countedTCP) Dial(ctx context.Context, _ ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	return t.dialer.dial(ctx, "TCP", t.dialer.tcp[p], p)
}

func (t *countedTCP) CanDial(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil
}

func (t *countedTCP) Listen(ma.Multiaddr) (transport.Listener, error) {
	return nil, syscall.EAFNOSUPPORT
}
func (t *countedTCP) Protocols() []int { return []int{ma.P_TCP} }
func (t *countedTCP) Proxy() bool      { return false }

// named stands for the DNS: the names that its methods are asked for are a point's.
type named struct{ addrs []ma.Multiaddr }

func (n named) ResolveDNSAddr(context.Context, peer.ID, ma.Multiaddr, int, int) ([]ma.Multiaddr, error) {
	return slices.Clone(n.addrs), nil
}

func (n named) ResolveDNSComponent(_ context.Context, a ma.Multiaddr, _ int) ([]ma.Multiaddr, error) {
	_, suffix := ma.SplitFirst(a)
	return slices.DeleteFunc(slices.Clone(n.addrs), func(known ma.Multiaddr) bool {
		return !strings.HasSuffix(known.String(), suffix.String())
	}), nil
}

// TestDialsOfAnAttempt: each attempt at a point that is away dials each of its addresses once, and
// from the second attempt on TCP before QUIC. This holds also when libp2p refuses to dial over UDP,
// which it does after a hundred dials over UDP have failed.
func TestDialsOfAnAttempt(t *testing.T) {
	for name, row := range map[string]struct {
		tcp   way // empty: the point has no address of TCP
		want  []string
		says  string
		names []string // to dial instead of the addresses
	}{
		"both silent":       {tcp: silent, want: []string{"TCP", "QUIC"}, says: "deadline exceeded; over TCP before: context deadline exceeded"},
		"nobody listens":    {tcp: refused, want: []string{"TCP", "QUIC"}, says: "/tcp/8000] connection refused"},
		"QUIC only":         {want: []string{"QUIC"}, says: "context deadline exceeded"},
		"names":             {tcp: silent, want: []string{"TCP", "QUIC"}, says: "deadline exceeded", names: []string{"/dns4/a.example/udp/8000/quic-v1", "/dns4/a.example/tcp/8000"}},
		"a name of dnsaddr": {tcp: silent, want: []string{"TCP", "QUIC"}, says: "deadline exceeded", names: []string{"/dnsaddr/a.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, 1, 10*time.Millisecond)
				point := sim.hosts[0].ID()
				startPoint(t, sim.hosts[0], testStorage(t))
				d := newDialer()
				addrs := info(sim.hosts[0])
				if row.tcp != "" {
					addrs = d.withTCP(sim.hosts[0], tcp4)
				}
				h := sim.addHost(t, nil, append(d.options(), libp2p.MultiaddrResolver(named{addrs.Addrs}))...)
				dialed := addrs
				if row.names != nil {
					dialed.Addrs = nil
				}
				for _, name := range row.names {
					dialed.Addrs = append(dialed.Addrs, ma.StringCast(name))
				}
				c := NewClient(h, WithPoints(dialed))
				attempt := func() ([]string, error) {
					_, err := c.Register(t.Context(), point, "n", 0)
					return d.take(point), err
				}
				dials, err := attempt()
				require.NoError(t, err)
				require.Equal(t, []string{"QUIC"}, dials, "as libp2p itself dials")

				d.set(row.tcp, silent)
				require.NoError(t, h.Network().ClosePeer(point))
				dials, err = attempt()
				require.Error(t, err)
				require.ElementsMatch(t, row.want, dials)
				for i := range scaled(250, 120) {
					time.Sleep(6 * time.Second) // the longest backoff
					dials, err = attempt()
					require.Equal(t, row.want, dials, "attempt %d", i)
					require.ErrorContains(t, err, row.says)
					require.NotContains(t, err.Error(), "dial backoff", "the other dial had that address")
				}

				d.set(open, open)
				time.Sleep(6 * time.Second)
				dials, err = attempt()
				require.NoError(t, err)
				require.Equal(t, row.want[:1], dials)
				for _, a := range h.Peerstore().Addrs(point) {
					require.False(t, h.Network().(*swarm.Swarm).Backoff().Backoff(point, a), "%s is still left out", a)
				}
			})
		})
	}
}

// TestDialsOnSlowNetworks: a host that is slow over one transport, and reaches nobody over the other,
// reaches a point again at every second attempt.
func TestDialsOnSlowNetworks(t *testing.T) {
	for name, row := range map[string]struct{ tcp, quic way }{
		"TCP is slow, QUIC is silent": {slow, silent},
		"QUIC is slow, TCP is silent": {silent, slow},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, 1, 10*time.Millisecond)
				point := sim.hosts[0].ID()
				startPoint(t, sim.hosts[0], testStorage(t))
				d := newDialer()
				h := sim.addHost(t, nil, d.options()...)
				c := NewClient(h, WithPoints(d.withTCP(sim.hosts[0], tcp4)))
				attempt := func() error {
					time.Sleep(6 * time.Second) // the longest backoff
					_, err := c.Register(t.Context(), point, "n", 0)
					return err
				}
				for away := range 4 {
					require.NoError(t, attempt())
					require.NoError(t, h.Network().ClosePeer(point))
					d.set(silent, silent)
					for range away {
						require.Error(t, attempt())
					}
					d.set(row.tcp, row.quic)
					if attempt() != nil {
						require.NoError(t, attempt())
					}
					d.set(open, open)
				}
			})
		})
	}
}

// TestDialsOfManyPoints: attempts at many points at the same time, while libp2p refuses to dial
// over UDP, dial all of them over both transports.
func TestDialsOfManyPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 8, 10*time.Millisecond)
		d := newDialer()
		h := sim.addHost(t, nil, d.options()...)
		d.set(refused, silent)
		var addrs []peer.AddrInfo
		for _, point := range sim.hosts {
			addrs = append(addrs, d.withTCP(point, tcp4))
		}
		c := NewClient(h, WithPoints(addrs...))
		for i := range scaled(60, 20) {
			var asked sync.WaitGroup
			for _, point := range sim.hosts {
				asked.Go(func() {
					_, err := c.Register(t.Context(), point.ID(), "n", 0)
					assert.Error(t, err)
				})
			}
			asked.Wait()
			for _, point := range sim.hosts {
				if dials := d.take(point.ID()); i > 0 {
					require.Equal(t, []string{"TCP", "QUIC"}, dials, "attempt %d", i)
				}
			}
			time.Sleep(6 * time.Second) // the longest backoff
		}
	})
}

// TestSimulationOneTransportBack: points with addresses of TCP and QUIC are away for so long that
// libp2p takes UDP for blocked, and come back over one of the two, or both. The host registers again
// soon after.
func TestSimulationOneTransportBack(t *testing.T) {
	for name, row := range map[string]struct {
		addr                       string
		tcpAway, tcpBack, quicBack way
	}{
		"over QUIC, TCP is silent":         {tcp4, silent, silent, open},
		"over QUIC, TCP is refused":        {tcp4, refused, refused, open},
		"over TCP, QUIC is silent":         {tcp4, silent, open, silent},
		"over TCP on IPv6, QUIC is silent": {tcp6, silent, open, silent},
		"over both":                        {tcp4, refused, open, open},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSimulation(t, 2, 10*time.Millisecond)
				_, storages := storagesOf(t, sim.hosts)
				d := newDialer()
				udp := &swarm.BlackHoleSuccessCounter{N: 100, MinSuccesses: 5, Name: "UDP"} // as by default
				h := sim.addHost(t, nil, append(d.options(), libp2p.UDPBlackHoleSuccessCounter(udp))...)
				states := keep(t, NewClient(h, WithPoints(d.withTCP(sim.hosts[0], row.addr), d.withTCP(sim.hosts[1], row.addr))))
				until(t, states, 5*time.Second, State.Findable)
				for range scaled(3, 1) {
					d.set(row.tcpAway, silent)
					require.NoError(t, h.Network().ClosePeer(sim.hosts[0].ID()))
					require.NoError(t, h.Network().ClosePeer(sim.hosts[1].ID()))
					time.Sleep(12 * time.Minute)
					require.Equal(t, "Blocked", udp.State().String())
					for _, s := range storages {
						require.Zero(t, live(t, s, "n"))
					}
					d.set(row.tcpBack, row.quicBack)
					took := awaitLive(t, "n", storages...)
					t.Logf("points away for 12 minutes, back %s: registered again at both after %v", name, took)
					require.LessOrEqual(t, took, 15*time.Second)
					time.Sleep(time.Minute)
				}
			})
		})
	}
}
