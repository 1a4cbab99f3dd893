// Package nat simulates the NAT of a host on a simulated network, for tests.
package nat

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// QUIC lets a host use QUIC over sockets that listen opens, and send from the newest one.
func QUIC(listen func(*net.UDPAddr) net.PacketConn) libp2p.Option {
	source := new(newestSource)
	return libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(m.Close))
		}
		return m, err
	},
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source, nil }),
		quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
			source.ip.Store(&addr.IP)
			return listen(addr), nil
		}))
}

// newestSource is the address of the newest socket.
type newestSource struct{ ip atomic.Pointer[net.IP] }

func (s *newestSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return *s.ip.Load(), nil
}

// NAT is behind a socket. It drops the packets of QUIC connections that it has forgotten, both
// ways, and tells nobody.
type NAT struct {
	net.PacketConn

	mu        sync.Mutex
	known     map[connID]struct{}
	forgotten map[connID]struct{}
}

// connID is the ID of a QUIC connection in one direction. Those of quic-go have four bytes.
type connID [4]byte

// New returns a NAT behind a socket.
func New(c net.PacketConn) *NAT {
	return &NAT{PacketConn: c, known: make(map[connID]struct{}), forgotten: make(map[connID]struct{})}
}

// Forget forgets the present connections. New ones are not affected.
func (n *NAT) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.known {
		n.forgotten[id] = struct{}{}
	}
	clear(n.known)
}

// WriteTo implements [net.PacketConn].
func (n *NAT) WriteTo(b []byte, to net.Addr) (int, error) {
	if n.drops(b) {
		return len(b), nil
	}
	return n.PacketConn.WriteTo(b, to)
}

// ReadFrom implements [net.PacketConn].
func (n *NAT) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		size, from, err := n.PacketConn.ReadFrom(b)
		if err != nil || !n.drops(b[:size]) {
			return size, from, err
		}
	}
}

// drops reports whether a packet is of a forgotten connection. Those of handshakes, which have
// a long header, are not: they make new connections.
func (n *NAT) drops(packet []byte) bool {
	if len(packet) < 5 || packet[0]&0x80 != 0 {
		return false
	}
	id := connID(packet[1:5])
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, forgotten := n.forgotten[id]; forgotten {
		return true
	}
	n.known[id] = struct{}{}
	return false
}
