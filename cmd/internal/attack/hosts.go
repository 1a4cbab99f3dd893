package main

// Hosts on loopback, and what they say to each other.

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-msgio"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

const (
	overTCP  = "/ip4/127.0.0.1/tcp/0"
	overQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// newPointHost is the host of a point as its operator sets it up: over both
// transports, with libp2p's limits and those that a point adds.
func newPointHost() (host.Host, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	rendezvous.Limits(&limits)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()))
	if err != nil {
		return nil, err
	}
	return libp2p.New(libp2p.ListenAddrStrings(overTCP, overQUIC), libp2p.ResourceManager(manager), libp2p.DisableRelay())
}

// newPeer is a host that reaches points over one transport, every other one over
// QUIC, and knows no limits of its own.
func newPeer(i int) (host.Host, error) {
	transport, listen := libp2p.Transport(tcp.NewTCPTransport), overTCP
	if i%2 == 1 {
		transport, listen = libp2p.Transport(libp2pquic.NewTransport), overQUIC
	}
	return libp2p.New(transport, libp2p.ListenAddrStrings(listen), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(), libp2p.DisableMetrics())
}

func info(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// elsewhere is a host whose handlers see its peers where they would be on the
// Internet, so that what a point allows an address is at work on loopback, too.
type elsewhere struct {
	host.Host
	where func(peer.ID) ma.Multiaddr
}

func (e *elsewhere) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	e.Host.SetStreamHandler(id, func(st network.Stream) {
		handler(&seenStream{st, &seenConn{st.Conn(), e.where(st.Conn().RemotePeer())}})
	})
}

type seenStream struct {
	network.Stream
	conn *seenConn
}

func (s *seenStream) Conn() network.Conn { return s.conn }

type seenConn struct {
	network.Conn
	from ma.Multiaddr
}

func (c *seenConn) RemoteMultiaddr() ma.Multiaddr { return c.from }

// address is the n-th of some addresses that are not loopback.
func address(n int) ma.Multiaddr {
	return ma.StringCast(fmt.Sprintf("/ip4/198.18.%d.%d/tcp/4001", n>>8&0xff, n&0xff))
}

// seal signs a record of key's peer.
func seal(key crypto.PrivKey, seq uint64, addrs ...ma.Multiaddr) ([]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	signed, err := record.Seal(&peer.PeerRecord{PeerID: id, Addrs: addrs, Seq: seq}, key)
	if err != nil {
		return nil, err
	}
	return signed.Marshal()
}

// frame is m as it goes over the wire.
func frame(m *pb.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		return nil // of no message that is made here
	}
	return append(protowire.AppendVarint(nil, uint64(len(body))), body...)
}

func register(ns string, envelope []byte) []byte {
	return frame(&pb.Message{Type: pb.Message_REGISTER, Register: &pb.Message_Register{Ns: ns, SignedPeerRecord: envelope}})
}

func discover(ns string) []byte {
	return frame(&pb.Message{Type: pb.Message_DISCOVER, Discover: &pb.Message_Discover{Ns: ns}})
}

// session is a stream on which an attacker asks again and again, and a new one
// whenever the point has ended it.
type session struct {
	from host.Host
	to   peer.ID
	st   network.Stream
	in   msgio.ReadCloser
}

// ask sends a request and waits for what comes of it.
func (s *session) ask(ctx context.Context, request []byte) {
	if s.st == nil {
		st, err := s.from.NewStream(ctx, s.to, rendezvous.RendezvousID_v001)
		if err != nil {
			return
		}
		s.st, s.in = st, msgio.NewVarintReaderSize(st, 4<<20)
	}
	_ = s.st.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := s.st.Write(request)
	if err == nil {
		var answer []byte
		answer, err = s.in.ReadMsg()
		s.in.ReleaseMsg(answer)
	}
	if err != nil {
		_ = s.st.Reset()
		s.st = nil
	}
}
