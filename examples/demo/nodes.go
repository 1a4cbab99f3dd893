package main

// The nodes, which know a point and nothing else.

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

// nodes are gossipsub nodes that find each other through a point.
type nodes struct {
	all    []*node
	cancel context.CancelFunc // ends their gossipsubs
}

func startNodes(ctx context.Context, n int, point peer.AddrInfo) (*nodes, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &nodes{cancel: cancel}
	for range n {
		one, err := startNode(ctx, point)
		s.all = append(s.all, one)
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// enough is how many neighbours in the mesh gossipsub is content with.
func (s *nodes) enough() int {
	return min(pubsub.GossipSubDlo, len(s.all)-1)
}

func (s *nodes) count(is func(*node) bool) int {
	n := 0
	for _, one := range s.all {
		one.mu.Lock()
		if is(one) {
			n++
		}
		one.mu.Unlock()
	}
	return n
}

func (s *nodes) registered() int { return s.count(func(n *node) bool { return n.registered }) }
func (s *nodes) meshed() int     { return s.count(func(n *node) bool { return len(n.mesh) >= s.enough() }) }
func (s *nodes) delivered() int  { return s.count(func(n *node) bool { return n.received }) }

func (s *nodes) publish(ctx context.Context, text string) error {
	return s.all[0].topic.Publish(ctx, []byte(text))
}

func (s *nodes) close() error {
	var errs []error
	s.cancel()
	for _, one := range s.all {
		errs = append(errs, one.close())
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
		pubsub.WithDiscovery(&advertised{disc, n}),
		pubsub.WithEventTracer(&meshTracer{node: n}))
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
				return // the gossipsub has ended
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

// advertised notes, for the display, when its node is registered.
type advertised struct {
	discovery.Discovery
	node *node
}

func (a *advertised) Advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	next, err := a.Discovery.Advertise(ctx, ns, opts...)
	a.node.mu.Lock()
	defer a.node.mu.Unlock()
	a.node.registered = err == nil
	return next, err
}

// meshTracer keeps, for the display, who is in its node's mesh.
type meshTracer struct {
	node *node
}

// Trace implements [pubsub.EventTracer].
func (t *meshTracer) Trace(event *pubsubpb.TraceEvent) {
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
