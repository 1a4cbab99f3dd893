//go:build linux

package main

// The peer program's uses of the library. Nothing else in this package imports it.

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// library is the library as a gossipsub node uses it: one client for gossipsub,
// KeepRegistered and Watch.
type library struct {
	client *rendezvous.Client
}

func newLibrary(h host.Host, points []peer.AddrInfo) *library {
	return &library{client: rendezvous.NewClient(h, rendezvous.WithPoints(points...))}
}

// keepRegistered keeps the host registered until ctx ends. It calls say with a
// description of the state each time that it changes.
func (l *library) keepRegistered(ctx context.Context, namespace string, say func(string)) error {
	states, err := l.client.KeepRegistered(ctx, namespace)
	if err != nil {
		return fmt.Errorf("keep registered: %w", err)
	}
	last := ""
	for state := range states {
		if text := describe(state); text != last {
			say(text)
			last = text
		}
	}
	return nil
}

// describe says whether the host is registered, and lists the errors, in one line.
func describe(state rendezvous.State) string {
	var b strings.Builder
	if !state.Findable() {
		b.WriteString("not ")
	}
	b.WriteString("findable")
	for _, namespace := range state.Namespaces {
		if namespace.Err != nil {
			fmt.Fprintf(&b, "; %v", namespace.Err)
		}
		for _, point := range namespace.Points {
			if point.Err != nil {
				fmt.Fprintf(&b, "; %s: %v", point.Point, point.Err)
			}
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// watch calls changed for each event of the namespace until ctx ends.
func (l *library) watch(ctx context.Context, namespace string, changed func(p peer.AddrInfo, present bool)) error {
	events, err := l.client.Watch(ctx, namespace)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	for e := range events {
		changed(e.Peer, e.Type != rendezvous.Left)
	}
	return nil
}

// searchingClient is the library as a program uses it that only searches.
type searchingClient struct {
	client *rendezvous.Client
	asked  *askedPoints
}

func newSearchingClient(h host.Host, points []peer.AddrInfo) *searchingClient {
	asked := &askedPoints{answered: make(map[peer.ID]bool)}
	return &searchingClient{
		client: rendezvous.NewClient(h, rendezvous.WithPoints(points...), rendezvous.WithClientMetricsTracer(asked)),
		asked:  asked,
	}
}

// find calls FindPeers, and found for each peer that it returns.
func (s *searchingClient) find(ctx context.Context, namespace string, found func(peer.AddrInfo)) error {
	infos, err := s.client.FindPeers(ctx, namespace)
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	for info := range infos {
		found(info)
	}
	return nil
}

// askedPoints records which points a client has asked, and whether they have answered.
type askedPoints struct {
	mu       sync.Mutex
	answered map[peer.ID]bool
}

// RequestEnded implements [rendezvous.ClientMetricsTracer].
func (a *askedPoints) RequestEnded(e rendezvous.RequestEnded) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[e.Point] = a.answered[e.Point] || e.Err == nil
}

// take returns by peer ID the points whose requests have ended since the last call, and
// whether each has answered one.
func (a *askedPoints) take() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := make(map[string]bool, len(a.answered))
	for id, answered := range a.answered {
		taken[id.String()] = answered
	}
	clear(a.answered)
	return taken
}
