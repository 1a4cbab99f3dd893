package main

// The attack of a hostile point on its clients.

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// runHostilePoint starts a hostile point, and clients that send it requests. A client
// must neither believe its answers nor wait for them for long.
func runHostilePoint(ctx context.Context, a *attackers) {
	point, err := newPeerHost(0, nil)
	if err != nil {
		return
	}
	defer func() { _ = point.Close() }()
	var n atomic.Int64
	point.SetStreamHandler(rendezvous.RendezvousID_v001, func(st network.Stream) {
		defer func() { _ = st.Reset() }()
		writeBadAnswer(ctx, st, int(n.Add(1)))
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			h, err := newPeerHost(2*i, nil) // TCP, as the point
			if err != nil {
				return
			}
			defer func() { _ = h.Close() }()
			if h.Connect(context.WithoutCancel(ctx), addrInfo(point)) != nil {
				return
			}
			client := rendezvous.NewClient(h)
			for first := true; first || ctx.Err() == nil; first = false {
				a.sent.Add(1)
				started := time.Now()
				found, err := client.Discover(ctx, point.ID(), "n", 0)
				if took := time.Since(started); len(found) > 0 || took > 10*time.Second {
					a.stats.record(0, fmt.Errorf("a client of a hostile point discovered %d peers after %v (%w)", len(found), took, err))
				}
			}
		})
	}
	wg.Wait()
}

// writeBadAnswer writes the nth bad answer, or a part of it.
func writeBadAnswer(ctx context.Context, st network.Stream, n int) {
	switch n % 6 {
	case 0: // the longest possible answer, with records that are none
		garbage := &pb.Message_Register{Ns: "n", SignedPeerRecord: make([]byte, 8<<10), Ttl: math.MaxInt64}
		d := &pb.Message_DiscoverResponse{Registrations: slices.Repeat([]*pb.Message_Register{garbage}, 500)}
		_, _ = st.Write(encodeFrame(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: d}))
	case 1: // the length of an answer of 4 GiB, and nothing more
		_, _ = st.Write([]byte("\x80\x80\x80\x80\x10"))
		pause(ctx, time.Second)
	case 2: // a byte every 100 ms
		for range 50 {
			if _, err := st.Write([]byte{0x80}); err != nil || ctx.Err() != nil {
				return
			}
			pause(ctx, 100*time.Millisecond)
		}
	case 3: // an answer to another kind of request
		_, _ = st.Write(encodeFrame(&pb.Message{Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: &pb.Message_RegisterResponse{Ttl: math.MaxInt64}}))
	case 4: // a refusal with a text of 1 MiB
		_, _ = st.Write(encodeFrame(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: &pb.Message_DiscoverResponse{Status: 400, StatusText: string(make([]byte, 1<<20))}}))
	default: // empty frames
		_, _ = st.Write(make([]byte, 1<<16))
	}
}
