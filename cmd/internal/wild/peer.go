//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
)

// The namespaces in which peers register. Gossipsub has one to itself, because other
// searches in it would change the results that gossipsub gets.
const (
	topicName      = "wild"
	topicNamespace = "floodsub:" + topicName // as gossipsub calls it: Advertise and FindPeers
	keptNamespace  = "kept"                  // KeepRegistered, Watch and FindPeers
)

// messageEvery is the time between the messages of a peer.
const messageEvery = 2 * time.Second

// peerConfig configures the program peer.
type peerConfig struct {
	Key       string    `json:"key"` // file
	Transport transport `json:"transport"`
	Port      int       `json:"port"`
	Announce  []string  `json:"announce"` // besides the addresses of its interfaces
	Points    []string  `json:"points"`
	// NoDetector switches libp2p's black hole detector for UDP off.
	NoDetector bool `json:"noDetector"`
}

// runPeer runs a gossipsub node, set up as in the README. It also keeps itself registered and
// watches. Another host beside it searches. The program prints the results.
func runPeer(ctx context.Context, c peerConfig, w io.Writer) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return fmt.Errorf("start a host: %w", err)
	}
	defer func() { _ = h.Close() }()
	points, err := parsePoints(c.Points)
	if err != nil {
		return err
	}
	p := &peerProgram{host: h, library: newLibrary(h, points), out: newPrinter(w)}
	if p.searcher, err = newSearcher(transportOptions(c.Transport), points, p.out); err != nil {
		return err
	}
	defer func() { _ = p.searcher.host.Close() }()
	return p.run(ctx)
}

// options returns the options of the host.
func (c peerConfig) options() ([]libp2p.Option, error) {
	key, err := readKey(c.Key)
	if err != nil {
		return nil, err
	}
	announce := make([]ma.Multiaddr, 0, len(c.Announce))
	for _, s := range c.Announce {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("announce %q: %w", s, err)
		}
		announce = append(announce, a)
	}
	opts := append(transportOptions(c.Transport),
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(listenAddrs(c.Transport, "0.0.0.0", c.Port)...),
		libp2p.AddrsFactory(func(own []ma.Multiaddr) []ma.Multiaddr { return slices.Concat(own, announce) }),
	)
	if c.NoDetector {
		opts = append(opts, libp2p.UDPBlackHoleSuccessCounter(nil))
	}
	return opts, nil
}

// transportOptions returns the options of a host that speaks a transport.
func transportOptions(t transport) []libp2p.Option {
	var opts []libp2p.Option
	if t != overQUIC {
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport))
	}
	if t != overTCP {
		opts = append(opts, libp2p.Transport(libp2pquic.NewTransport))
	}
	return opts
}

// readKey reads a private key from a file.
func readKey(path string) (crypto.PrivKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("read the key in %s: %w", path, err)
	}
	return key, nil
}

// parsePoints reads multiaddrs that end in /p2p/ and a peer ID.
func parsePoints(points []string) ([]peer.AddrInfo, error) {
	addrs := make([]ma.Multiaddr, 0, len(points))
	for _, s := range points {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("point %q: %w", s, err)
		}
		addrs = append(addrs, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, fmt.Errorf("points %q: %w", points, err)
	}
	return infos, nil
}

type peerProgram struct {
	host     host.Host
	library  *library
	searcher *searcher
	out      *printer
}

func (p *peerProgram) run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	mesh := newMeshTracer(func(ids []string) { p.out.print(line{Kind: kindMesh, Peers: ids}) })
	router, err := pubsub.NewGossipSub(ctx, p.host, pubsub.WithDiscovery(p.library.client), pubsub.WithRawTracer(mesh))
	if err != nil {
		return fmt.Errorf("start gossipsub: %w", err)
	}
	topic, err := router.Join(topicName)
	if err != nil {
		return fmt.Errorf("join the topic: %w", err)
	}
	messages, err := topic.Subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to the topic: %w", err)
	}
	p.host.Network().Notify(&network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
		p.out.print(line{Kind: kindClosed, Peer: c.RemotePeer().String(), Began: now().add(-time.Since(c.Stat().Opened))})
	}})
	p.out.print(line{Kind: kindReady, Text: fmt.Sprint(p.host.Addrs())})

	all.Go(func() error { return p.publish(ctx, topic) })
	all.Go(func() error { return p.listen(ctx, messages) })
	all.Go(func() error { return p.searcher.run(ctx, keptNamespace) })
	all.Go(func() error {
		return p.library.keepRegistered(ctx, keptNamespace, func(text string) { p.out.print(line{Kind: kindState, Text: text}) })
	})
	all.Go(func() error { return p.library.watch(ctx, keptNamespace, p.watched) })
	return all.Wait()
}

func (p *peerProgram) publish(ctx context.Context, topic *pubsub.Topic) error {
	ticks := time.NewTicker(messageEvery)
	defer ticks.Stop()
	for n := 0; ; n++ {
		if err := topic.Publish(ctx, fmt.Appendf(nil, "%s %d %d", p.host.ID(), n, rand.Int64())); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *peerProgram) listen(ctx context.Context, messages *pubsub.Subscription) error {
	for {
		m, err := messages.Next(ctx)
		if err != nil {
			return fmt.Errorf("receive messages: %w", err)
		}
		if from := m.GetFrom(); from != p.host.ID() {
			p.out.print(line{Kind: kindMessage, Peer: from.String()})
		}
	}
}

func (p *peerProgram) watched(info peer.AddrInfo, present bool) {
	l := line{Kind: kindWatch, Peer: info.ID.String()}
	if present {
		l.Found = map[string][]found{l.Peer: {{Addrs: addrStrings(info.Addrs)}}}
	}
	p.out.print(l)
}
