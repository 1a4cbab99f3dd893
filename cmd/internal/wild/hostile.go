//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// hostileConfig configures the program hostile.
type hostileConfig struct {
	Key  string `json:"key"` // file
	Addr string `json:"addr"`
}

// madeUpPeers is the number of peers that a hostile point makes up, and the most that an
// answer holds.
const madeUpPeers = 1000

// runHostile runs a hostile point. It accepts and forgets every registration, and answers
// each search with made-up peers. Their records have valid signatures, and addresses at
// which there is no machine.
func runHostile(ctx context.Context, c hostileConfig, w io.Writer) error {
	key, err := readKey(c.Key)
	if err != nil {
		return err
	}
	envelopes, err := makeUp(madeUpPeers)
	if err != nil {
		return fmt.Errorf("make up peers: %w", err)
	}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(listenAddrs(overBoth, c.Addr, pointPort)...),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		return fmt.Errorf("start a host: %w", err)
	}
	defer func() { _ = h.Close() }()
	h.SetStreamHandler(protocolID, func(stream network.Stream) {
		if lie(stream, envelopes) != nil {
			_ = stream.Reset()
			return
		}
		_ = stream.Close()
	})
	newPrinter(w).print(line{Kind: kindReady})
	<-ctx.Done()
	return nil
}

// makeUp returns signed records of peers that do not exist.
func makeUp(n int) ([][]byte, error) {
	envelopes := make([][]byte, 0, n)
	for range n {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			return nil, err
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return nil, err
		}
		ip := emptyNetwork.Addr().As4()
		ip[3] += byte(randv2.IntN(1 << (32 - emptyNetwork.Bits())))
		addr, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/%d.%d.%d.%d/tcp/%d", ip[0], ip[1], ip[2], ip[3], 1024+randv2.IntN(60000)))
		if err != nil {
			return nil, err
		}
		seq := uint64(time.Now().UnixNano())
		sealed, err := record.Seal(&peer.PeerRecord{PeerID: id, Addrs: []ma.Multiaddr{addr}, Seq: seq}, key)
		if err != nil {
			return nil, err
		}
		envelope, err := sealed.Marshal()
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, envelope)
	}
	return envelopes, nil
}

// requester is the part of a stream that lie needs.
type requester interface {
	io.ReadWriter
	SetDeadline(t time.Time) error
}

// lie answers the requests on a stream until the other side closes it.
func lie(stream requester, envelopes [][]byte) error {
	in := bufio.NewReader(stream)
	for {
		if err := stream.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return fmt.Errorf("set a deadline: %w", err)
		}
		request, err := readMessage(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := &pb.Message{
			Type:             pb.Message_REGISTER_RESPONSE,
			RegisterResponse: &pb.Message_RegisterResponse{Ttl: 20},
		}
		switch request.GetType() {
		case pb.Message_REGISTER:
		case pb.Message_DISCOVER:
			answer = &pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: madeUpAnswer(request.GetDiscover(), envelopes)}
		default:
			return errors.New("not a request")
		}
		if err := writeMessage(stream, answer); err != nil {
			return err
		}
	}
}

// madeUpAnswer returns as many made-up peers as the request asks for.
func madeUpAnswer(asked *pb.Message_Discover, envelopes [][]byte) *pb.Message_DiscoverResponse {
	n := int(asked.GetLimit())
	if n <= 0 || n > len(envelopes) {
		n = len(envelopes)
	}
	r := new(pb.Message_DiscoverResponse)
	for _, i := range randv2.Perm(len(envelopes))[:n] {
		r.Registrations = append(r.Registrations, &pb.Message_Register{Ns: asked.GetNs(), SignedPeerRecord: envelopes[i], Ttl: 20})
	}
	return r
}
