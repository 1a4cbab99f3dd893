//go:build linux

package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// meshTracer tracks the peers in gossipsub's mesh. There is only one topic.
type meshTracer struct {
	changed func(ids []string)

	mu    sync.Mutex
	peers map[peer.ID]struct{}
}

var _ pubsub.RawTracer = (*meshTracer)(nil)

func newMeshTracer(changed func(ids []string)) *meshTracer {
	return &meshTracer{changed: changed, peers: make(map[peer.ID]struct{})}
}

func (t *meshTracer) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.peers)
	f()
	if len(t.peers) == before {
		return // each update adds or removes, never both
	}
	ids := make([]string, 0, len(t.peers))
	for _, id := range slices.Sorted(maps.Keys(t.peers)) {
		ids = append(ids, id.String())
	}
	t.changed(ids)
}

func (t *meshTracer) Graft(p peer.ID, _ string) { t.update(func() { t.peers[p] = struct{}{} }) }
func (t *meshTracer) Prune(p peer.ID, _ string) { t.update(func() { delete(t.peers, p) }) }

// OnClosedOutboundStream removes a peer that disconnects. Gossipsub does not report it as
// a prune.
func (t *meshTracer) OnClosedOutboundStream(p peer.ID) { t.update(func() { delete(t.peers, p) }) }
func (t *meshTracer) Leave(string)                     { t.update(func() { clear(t.peers) }) }

func (*meshTracer) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (*meshTracer) Join(string)                                          {}
func (*meshTracer) ValidateMessage(*pubsub.Message)                      {}
func (*meshTracer) DeliverMessage(*pubsub.Message)                       {}
func (*meshTracer) RejectMessage(*pubsub.Message, string)                {}
func (*meshTracer) DuplicateMessage(*pubsub.Message)                     {}
func (*meshTracer) ThrottlePeer(peer.ID)                                 {}
func (*meshTracer) RecvRPC(*pubsub.RPC)                                  {}
func (*meshTracer) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (*meshTracer) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (*meshTracer) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (*meshTracer) UndeliverableMessage(*pubsub.Message)                 {}
