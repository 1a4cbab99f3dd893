package main

// Signed records, requests, and sending requests.

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

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

// registerRequest returns a REGISTER. A ttl of 0 leaves it to the point.
func registerRequest(ns string, envelope []byte, ttl time.Duration) []byte {
	return encodeFrame(&pb.Message{Type: pb.Message_REGISTER, Register: &pb.Message_Register{Ns: ns, SignedPeerRecord: envelope, Ttl: int64(ttl / time.Second)}})
}

// discoverRequest returns a DISCOVER. A limit of 0 leaves it to the point.
func discoverRequest(ns string, limit int64) []byte {
	return encodeFrame(&pb.Message{Type: pb.Message_DISCOVER, Discover: &pb.Message_Discover{Ns: ns, Limit: limit}})
}

// session sends requests over one stream, and opens a new one if the point has reset it.
type session struct {
	host     host.Host
	point    peer.ID
	protocol protocol.ID

	stream network.Stream // nil: none open
	in     *bufio.Reader
}

// request sends a request and waits for an answer or an error, both of which it ignores.
func (s *session) request(ctx context.Context, frame []byte) {
	if s.stream == nil {
		st, err := s.host.NewStream(ctx, s.point, s.protocol)
		if err != nil {
			return
		}
		s.stream, s.in = st, bufio.NewReader(st)
	}
	_ = s.stream.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := s.stream.Write(frame)
	if err == nil {
		err = s.skipAnswer()
	}
	if err != nil {
		_ = s.stream.Reset()
		s.stream = nil
	}
}

// skipAnswer reads an answer without holding it: the memory of attackers would be mistaken
// for that of the point.
func (s *session) skipAnswer() error {
	size, err := binary.ReadUvarint(s.in)
	if err == nil {
		_, err = io.CopyN(io.Discard, s.in, int64(size))
	}
	return err
}

// close ends the session's stream.
func (s *session) close() {
	if s.stream != nil {
		_ = s.stream.Reset()
	}
}
