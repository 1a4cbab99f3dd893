package main

// The rendezvous point of the chat.

import (
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// point is a rendezvous point, either a remote one or one that this program runs.
type point struct {
	info    peer.AddrInfo
	host    host.Host // nil if the point is remote, as are the fields below
	storage rendezvous.Storage
	service *rendezvous.RendezvousService
}

// pointAt returns the point at an address. If the address is empty, it starts a point.
func pointAt(addr string) (*point, error) {
	if addr == "" {
		return startPoint()
	}
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, fmt.Errorf("-point %q is not an address with a peer ID, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…: %w", addr, err)
	}
	return &point{info: *info}, nil
}

func startPoint() (*point, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return nil, fmt.Errorf("start rendezvous point: %w", err)
	}
	p := &point{
		info:    peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()},
		host:    h,
		storage: rendezvous.NewMemoryStorage(),
	}
	p.service = rendezvous.NewRendezvousService(h, p.storage)
	if err := p.service.Start(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *point) addr() string { return fmt.Sprintf("%s/p2p/%s", p.info.Addrs[0], p.info.ID) }

// close stops the point if this program runs it.
func (p *point) close() {
	if p.host == nil {
		return
	}
	p.service.Stop()
	_ = p.host.Close()
	_ = p.storage.Close()
}
