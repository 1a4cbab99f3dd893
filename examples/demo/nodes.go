package main

// The gossipsub nodes.

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const topic = "/demo/1/chat/proto"

type nodes struct {
	all    []*node
	cancel context.CancelFunc // stops gossipsub in all nodes
}

// startNodes starts n nodes that know one point. If it fails, it returns the nodes that
// it has started.
func startNodes(ctx context.Context, n int, point peer.AddrInfo) (*nodes, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &nodes{cancel: cancel}
	for range n {
		n, err := startNode(ctx, point)
		s.all = append(s.all, n)
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// minMesh returns the number of mesh peers below which gossipsub looks for more.
func (s *nodes) minMesh() int {
	return min(pubsub.GossipSubDlo, len(s.all)-1)
}

// count returns the number of nodes for which f returns true.
func (s *nodes) count(f func(*node) bool) int {
	total := 0
	for _, n := range s.all {
		n.mu.Lock()
		if f(n) {
			total++
		}
		n.mu.Unlock()
	}
	return total
}

func (s *nodes) registered() int { return s.count(func(n *node) bool { return n.registered }) }
func (s *nodes) meshed() int {
	return s.count(func(n *node) bool { return len(n.mesh) >= s.minMesh() })
}
func (s *nodes) delivered() int { return s.count(func(n *node) bool { return n.received }) }

func (s *nodes) publish(ctx context.Context, text string) error {
	return s.all[0].topic.Publish(ctx, []byte(text))
}

func (s *nodes) close() error {
	var errs []error
	s.cancel()
	for _, n := range s.all {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// node is a libp2p host with gossipsub, subscribed to the topic.
type node struct {
	host   host.Host
	topic  *pubsub.Topic
	reader sync.WaitGroup

	mu         sync.Mutex
	registered bool
	mesh       map[peer.ID]struct{}
	received   bool
}

func startNode(ctx context.Context, point peer.AddrInfo) (*node, error) {
	n := &node{mesh: make(map[peer.ID]struct{})}
	var err error
	if n.host, err = libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0")); err != nil {
		return n, err
	}
	disc := rendezvous.NewRendezvousDiscovery(n.host, rendezvous.WithPoints(point))
	ps, err := pubsub.NewGossipSub(ctx, n.host,
		pubsub.WithDiscovery(&advertiseObserver{disc, n}),
		pubsub.WithEventTracer(&meshObserver{node: n}))
	if err != nil {
		return n, err
	}
	if n.topic, err = ps.Join(topic); err != nil {
		return n, err
	}
	sub, err := n.topic.Subscribe()
	if err != nil {
		return n, err
	}
	n.reader.Go(func() {
		for {
			if _, err := sub.Next(ctx); err != nil {
				return // gossipsub has stopped
			}
			n.mu.Lock()
			n.received = true
			n.mu.Unlock()
		}
	})
	return n, nil
}

func (n *node) close() error {
	n.reader.Wait()
	if n.host == nil {
		return nil
	}
	return n.host.Close()
}

// advertiseObserver records whether a node is registered.
type advertiseObserver struct {
	discovery.Discovery
	node *node
}

func (a *advertiseObserver) Advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	next, err := a.Discovery.Advertise(ctx, ns, opts...)
	a.node.mu.Lock()
	defer a.node.mu.Unlock()
	a.node.registered = err == nil
	return next, err
}

// meshObserver records which peers are in the mesh of a node.
type meshObserver struct {
	node *node
}

// Trace implements [pubsub.EventTracer].
func (t *meshObserver) Trace(event *pubsubpb.TraceEvent) {
	t.node.mu.Lock()
	defer t.node.mu.Unlock()
	switch event.GetType() {
	case pubsubpb.TraceEvent_GRAFT:
		t.node.mesh[peer.ID(event.GetGraft().GetPeerID())] = struct{}{}
	case pubsubpb.TraceEvent_PRUNE:
		delete(t.node.mesh, peer.ID(event.GetPrune().GetPeerID()))
	case pubsubpb.TraceEvent_ON_CLOSED_OUTBOUND_STREAM:
		delete(t.node.mesh, peer.ID(event.GetOnClosedOutboundStream().GetPeerID()))
	}
}
