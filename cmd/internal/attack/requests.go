package main

// Signed records, requests, and sending requests.

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-msgio"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// sealRecord signs a record of the key's peer.
func sealRecord(key crypto.PrivKey, seq uint64, addrs ...ma.Multiaddr) ([]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	envelope, err := record.Seal(&peer.PeerRecord{PeerID: id, Addrs: addrs, Seq: seq}, key)
	if err != nil {
		return nil, err
	}
	return envelope.Marshal()
}

// encodeFrame returns m with its length. It returns nil if m cannot be encoded, which no
// message of this program can cause.
func encodeFrame(m *pb.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		return nil
	}
	return append(protowire.AppendVarint(nil, uint64(len(body))), body...)
}

func registerRequest(ns string, envelope []byte) []byte {
	return encodeFrame(&pb.Message{Type: pb.Message_REGISTER, Register: &pb.Message_Register{Ns: ns, SignedPeerRecord: envelope}})
}

func discoverRequest(ns string) []byte {
	return encodeFrame(&pb.Message{Type: pb.Message_DISCOVER, Discover: &pb.Message_Discover{Ns: ns}})
}

// session sends requests over one stream, and opens a new one if the point has reset it.
type session struct {
	host  host.Host
	point peer.ID

	stream network.Stream // nil: none open
	in     msgio.ReadCloser
}

// request sends a request and waits for an answer or an error, both of which it ignores.
func (s *session) request(ctx context.Context, frame []byte) {
	if s.stream == nil {
		st, err := s.host.NewStream(ctx, s.point, rendezvous.RendezvousID_v001)
		if err != nil {
			return
		}
		s.stream, s.in = st, msgio.NewVarintReaderSize(st, 4<<20)
	}
	_ = s.stream.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := s.stream.Write(frame)
	if err == nil {
		var answer []byte
		answer, err = s.in.ReadMsg()
		s.in.ReleaseMsg(answer)
	}
	if err != nil {
		_ = s.stream.Reset()
		s.stream = nil
	}
}
