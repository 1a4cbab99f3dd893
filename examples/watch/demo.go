package main

// A demonstration that needs no point: it starts one, and peers that come and go.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// runDemo starts a point and three peers, and watches until one of the peers has left.
func runDemo(ctx context.Context, namespace string, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("no peer was seen to leave within a minute"))
	defer cancel()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return fmt.Errorf("start libp2p: %w", err)
	}
	defer h.Close()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(h, storage)
	if err := service.Start(); err != nil {
		return err
	}
	defer service.Stop()
	point := peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}

	var peers []*demoPeer
	defer func() {
		for _, p := range peers {
			_ = p.stop()
		}
	}()
	for range 3 {
		p, err := startDemoPeer(ctx, point, namespace)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}

	joined, left := 0, false
	err = watch(ctx, point, namespace, func(e rendezvous.Event) bool {
		printEvent(out, e)
		if e.Type == rendezvous.Left {
			left = true
			return false
		}
		if joined++; joined == len(peers) {
			fmt.Fprintln(out, "One of them stops now. It is seen to leave when its registration expires.")
			_ = peers[0].stop()
		}
		return true
	})
	if err == nil && !left {
		err = context.Cause(ctx)
	}
	return err
}

// demoPeer is a peer that stays registered in a namespace.
type demoPeer struct {
	close  func() error
	cancel context.CancelFunc
	states <-chan rendezvous.State
}

func startDemoPeer(ctx context.Context, point peer.AddrInfo, namespace string) (*demoPeer, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return nil, fmt.Errorf("start libp2p: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	states, err := rendezvous.NewClient(h, rendezvous.WithPoints(point)).KeepRegistered(ctx, namespace)
	if err != nil {
		cancel()
		return nil, errors.Join(err, h.Close())
	}
	return &demoPeer{close: h.Close, cancel: cancel, states: states}, nil
}

// stop may be called more than once.
func (p *demoPeer) stop() error {
	p.cancel()
	for range p.states { // closed when all goroutines of KeepRegistered have ended
	}
	return p.close()
}
