package main

// What there is to see without a point: one of its own, and peers that come and go.

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

// demonstrate starts a point and three peers, and watches until one of them has left.
func demonstrate(ctx context.Context, namespace string, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("nobody was seen to leave within a minute"))
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

	var leave []func() error
	defer func() {
		for _, l := range leave {
			_ = l()
		}
	}()
	for range 3 {
		l, err := join(ctx, point, namespace)
		if err != nil {
			return err
		}
		leave = append(leave, l)
	}

	joined, seenLeaving := 0, false
	err = watch(ctx, point, namespace, func(e rendezvous.Event) bool {
		show(out, e)
		switch e.Type {
		case rendezvous.Joined:
			if joined++; joined == len(leave) {
				fmt.Fprintln(out, "One of them goes away now. Its registration ends by itself.")
				_ = leave[0]()
			}
		case rendezvous.Left:
			seenLeaving = true
		case rendezvous.Moved: // no peer here does
		}
		return !seenLeaving
	})
	if err == nil && !seenLeaving {
		err = context.Cause(ctx)
	}
	return err
}

// join starts a peer that is registered until leave is called.
func join(ctx context.Context, point peer.AddrInfo, namespace string) (leave func() error, err error) {
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
	return func() error {
		cancel()
		for range states { // closed when all that was started has ended
		}
		return h.Close()
	}, nil
}
