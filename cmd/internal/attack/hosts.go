package main

// libp2p hosts on loopback.

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	listenTCP  = "/ip4/127.0.0.1/tcp/0"
	listenQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// newPointHost returns a host as an operator sets it up for a point: with both
// transports, and with the limits of libp2p and of the library.
func newPointHost() (host.Host, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	rendezvous.Limits(&limits)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()))
	if err != nil {
		return nil, err
	}
	return libp2p.New(libp2p.ListenAddrStrings(listenTCP, listenQUIC), libp2p.ResourceManager(manager), libp2p.DisableRelay())
}

// newPeerHost returns a host without resource limits. It uses TCP if i is even, and QUIC
// if i is odd. newKey, if it is not nil, makes its key.
func newPeerHost(i int, newKey func() (crypto.PrivKey, error)) (host.Host, error) {
	var identity libp2p.Option
	if newKey != nil {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		identity = libp2p.Identity(key)
	}
	transport, listen := libp2p.Transport(tcp.NewTCPTransport), listenTCP
	if i%2 == 1 {
		transport, listen = libp2p.Transport(libp2pquic.NewTransport), listenQUIC
	}
	return libp2p.New(transport, libp2p.ListenAddrStrings(listen), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), identity)
}

func addrInfo(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// publicAddr returns the nth of 65,536 addresses that are not loopback.
func publicAddr(n int) ma.Multiaddr {
	return ma.StringCast(fmt.Sprintf("/ip4/198.18.%d.%d/tcp/4001", n>>8&0xff, n&0xff))
}

// spoofedHost is a host whose stream handlers see other remote addresses than the real
// ones. The limits per address do not apply to loopback, and this makes them apply. It
// counts what is written to each peer.
type spoofedHost struct {
	host.Host
	addrOf    func(peer.ID) ma.Multiaddr
	counterOf func(peer.ID) *atomic.Int64
}

func (h *spoofedHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(st network.Stream) {
		p := st.Conn().RemotePeer()
		handler(&spoofedStream{st, &spoofedConn{st.Conn(), h.addrOf(p)}, h.counterOf(p)})
	})
}

type spoofedStream struct {
	network.Stream
	conn *spoofedConn
	sent *atomic.Int64
}

func (s *spoofedStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.sent.Add(int64(n))
	return n, err
}

func (s *spoofedStream) Conn() network.Conn { return s.conn }

type spoofedConn struct {
	network.Conn
	remote ma.Multiaddr
}

func (c *spoofedConn) RemoteMultiaddr() ma.Multiaddr { return c.remote }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
