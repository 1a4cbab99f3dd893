//go:build linux

package main

// The peer program's use of the library. Nothing else in this package imports it.

import (
	"context"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// library is the library as a gossipsub node uses it.
type library struct {
	client    *rendezvous.Client
	discovery discovery.Discovery
}

func newLibrary(h host.Host, points []peer.AddrInfo) *library {
	return &library{
		client:    rendezvous.NewClient(h, rendezvous.WithPoints(points...)),
		discovery: rendezvous.NewRendezvousDiscovery(h, rendezvous.WithPoints(points...)),
	}
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
