//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// searchEvery is the time from the start of one FindPeers to the next.
const searchEvery = time.Second

// searcher is a second host on the machine of a peer, which only searches. FindPeers leaves
// out the peers that a host is connected to, and libp2p says for half a minute that a host is
// connected to a peer that cannot be reached. The searcher connects to points only, and
// nobody can connect to it. So each of its searches must return every peer.
type searcher struct {
	host   host.Host
	client *searchingClient
	out    *printer
}

// newSearcher starts a host with the options of a transport.
func newSearcher(transport []libp2p.Option, points []peer.AddrInfo, out *printer) (*searcher, error) {
	h, err := libp2p.New(append(transport, libp2p.NoListenAddrs, libp2p.DisableRelay())...)
	if err != nil {
		return nil, fmt.Errorf("start a host that searches: %w", err)
	}
	return &searcher{host: h, client: newSearchingClient(h, points), out: out}, nil
}

// run searches a namespace regularly until ctx ends.
func (s *searcher) run(ctx context.Context, namespace string) error {
	ticks := time.NewTicker(searchEvery)
	defer ticks.Stop()
	for {
		s.search(ctx, namespace)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// search searches with a timeout of ten seconds, as gossipsub does.
func (s *searcher) search(ctx context.Context, namespace string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l := line{Kind: kindSearch, Began: now(), Found: make(map[string][]found)}
	err := s.client.find(ctx, namespace, func(info peer.AddrInfo) {
		id := info.ID.String()
		l.Found[id] = append(l.Found[id], found{Time: now(), Addrs: addrStrings(info.Addrs)})
	})
	if err != nil {
		l.Text = err.Error()
	}
	l.Asked = s.client.asked.take()
	for _, id := range s.host.Network().Peers() {
		l.Peers = append(l.Peers, id.String())
	}
	s.out.print(l)
}
