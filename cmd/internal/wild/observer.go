//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-varint"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

const (
	protocolID  = "/vac/waku/rendezvous/0.0.1"
	maxFrame    = 4 << 20
	askEvery    = 250 * time.Millisecond
	askDeadline = time.Second
)

// observerConfig configures the program observe.
type observerConfig struct {
	Points []observedPoint `json:"points"`
}

type observedPoint struct {
	Name string `json:"name"`
	Addr string `json:"addr"` // multiaddr, with the peer ID
}

// runObserver asks each point four times a second for all registrations, over a fresh
// stream, and prints the answers. It shares no code with the library but the generated
// messages. If a point does not answer, the observer closes the connection, so that the
// next request uses a new one.
func runObserver(ctx context.Context, c observerConfig, w io.Writer) error {
	h, err := libp2p.New(
		libp2p.NoListenAddrs,
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		return fmt.Errorf("start a host: %w", err)
	}
	defer func() { _ = h.Close() }()
	out := newPrinter(w)
	all, ctx := errgroup.WithContext(ctx)
	for _, p := range c.Points {
		infos, err := parsePoints([]string{p.Addr})
		if err != nil {
			return err
		}
		all.Go(func() error { return observe(ctx, h, p.Name, infos[0], out) })
	}
	out.print(line{Kind: kindReady})
	return all.Wait()
}

func observe(ctx context.Context, h host.Host, name string, point peer.AddrInfo, out *printer) error {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	for {
		l := line{Kind: kindAnswer, Point: name, Began: now()}
		answer, err := ask(ctx, h, point)
		if err == nil {
			l.Time = now()
			l.Found, err = readAnswer(answer)
		}
		if err != nil {
			_ = h.Network().ClosePeer(point.ID)
			l = line{Kind: kindNoAnswer, Point: name, Began: l.Began, Text: err.Error()}
		}
		out.print(l)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask asks a point for all registrations in all namespaces.
func ask(ctx context.Context, h host.Host, point peer.AddrInfo) (*pb.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	// This ignores the host's dial backoff.
	ctx = network.WithForceDirectDial(ctx, "a point may be back at any time")
	if err := h.Connect(ctx, point); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	stream, err := h.NewStream(ctx, point.ID, protocolID)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	defer func() { _ = stream.Reset() }()
	deadline, _ := ctx.Deadline()
	if err := stream.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set a deadline: %w", err)
	}
	if err := writeMessage(stream, &pb.Message{Type: pb.Message_DISCOVER, Discover: new(pb.Message_Discover)}); err != nil {
		return nil, err
	}
	return readMessage(bufio.NewReader(stream))
}

// readAnswer returns the registrations in an answer, by peer ID.
func readAnswer(answer *pb.Message) (map[string][]found, error) {
	r := answer.GetDiscoverResponse()
	if answer.GetType() != pb.Message_DISCOVER_RESPONSE || r == nil {
		return nil, fmt.Errorf("answer of type %v", answer.GetType())
	}
	if r.GetStatus() != pb.Message_OK {
		return nil, fmt.Errorf("answer %v: %s", r.GetStatus(), r.GetStatusText())
	}
	all := make(map[string][]found)
	for _, registration := range r.GetRegistrations() {
		_, opened, err := record.ConsumeEnvelope(registration.GetSignedPeerRecord(), peer.PeerRecordEnvelopeDomain)
		if err != nil {
			return nil, fmt.Errorf("open a record: %w", err)
		}
		rec, ok := opened.(*peer.PeerRecord)
		if !ok {
			return nil, errors.New("a record is not a peer record")
		}
		id := rec.PeerID.String()
		all[id] = append(all[id], found{Namespace: registration.GetNs(), Addrs: addrStrings(rec.Addrs)})
	}
	return all, nil
}

func writeMessage(w io.Writer, m *pb.Message) error {
	b := protowire.AppendVarint(nil, uint64(proto.Size(m)))
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return nil
}

func readMessage(r *bufio.Reader) (*pb.Message, error) {
	size, err := varint.ReadUvarint(r)
	if err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	if size > maxFrame {
		return nil, fmt.Errorf("read a message: %d bytes", size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	m := new(pb.Message)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	return m, nil
}
