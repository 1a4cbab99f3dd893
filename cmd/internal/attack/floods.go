package main

// Attacks by number: of requests, of streams, of connections, of identities.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// repeat returns an attack in which each attacker sends requests over four streams. That
// is several hundred requests per second, a multiple of the rate limit, but not so many
// that the attackers' own work delays honest peers.
func repeat(request func(*attacker) []byte) func(context.Context, *attackers) {
	return repeatOver(rendezvous.RendezvousID_v001, request)
}

// repeatOver is repeat over any protocol.
func repeatOver(id protocol.ID, request func(*attacker) []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var wg sync.WaitGroup
		for _, p := range a.all {
			for range 4 {
				wg.Go(func() {
					s := session{host: p, point: a.testbed.point.ID(), protocol: id}
					defer s.close()
					for {
						p.sent.Add(1)
						a.sent.Add(1)
						s.request(ctx, request(p))
						if pause(ctx, 10*time.Millisecond); ctx.Err() != nil {
							return
						}
					}
				})
			}
		}
		wg.Wait()
	}
}

// leaveIdle returns an attack that opens all idle streams, in a few seconds if it lasts
// that long, and sends the same few bytes on each of them.
func leaveIdle(bytes []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		each := a.scale.idleStreams / max(2, len(a.all))
		eachAttacker(a, func(p *attacker) {
			for range each {
				st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
				if err == nil {
					_, err = st.Write(bytes)
				}
				if err == nil {
					a.sent.Add(1)
				}
				pause(ctx, 25*time.Millisecond)
			}
		})
		<-ctx.Done()
	}
}

func closeWrite(st network.Stream)  { _ = st.CloseWrite() }
func resetStream(st network.Stream) { _ = st.Reset() }

// churnStreams returns an attack that opens streams and ends them without a request.
func churnStreams(end func(network.Stream)) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		eachAttacker(a, func(p *attacker) {
			var open []network.Stream
			for ; ctx.Err() == nil; pause(ctx, 5*time.Millisecond) {
				st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
				if err != nil {
					continue
				}
				open = append(open, st)
				if _, err := st.Write(nil); err == nil { // it negotiates the protocol
					end(st)
					a.sent.Add(1)
				}
			}
			resetAll(open)
		})
	}
}

func resetAll(streams []network.Stream) {
	for _, st := range streams {
		_ = st.Reset()
	}
}

// churnConnections connects peers and disconnects them, each after one request.
func churnConnections(ctx context.Context, a *attackers) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			h, err := newPeerHost(i, nil)
			if err != nil {
				return
			}
			defer func() { _ = h.Close() }()
			a.testbed.setAddr(h.ID(), a.attack.from.addr(a.number, i))
			for ctx.Err() == nil {
				if h.Connect(ctx, addrInfo(a.testbed.point)) == nil {
					s := session{host: h, point: a.testbed.point.ID(), protocol: rendezvous.RendezvousID_v001}
					s.request(ctx, discoverRequest("nobody", 0))
					a.sent.Add(1)
					_ = h.Network().ClosePeer(a.testbed.point.ID())
				}
				pause(ctx, 10*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// manyIdentities connects many peers from the same network, in groups. Each peer
// registers in several namespaces and disconnects.
func manyIdentities(ctx context.Context, a *attackers) {
	const groupSize = 20
	groupCtx := context.WithoutCancel(ctx) // the last group may finish
	for started := 0; started < a.scale.identities && ctx.Err() == nil; started += groupSize {
		group := &attackers{testbed: a.testbed, attack: attack{from: a.attack.from}, number: a.number, first: started}
		if group.connect(groupCtx, min(groupSize, a.scale.identities)) == nil {
			eachAttacker(group, func(p *attacker) {
				s := session{host: p, point: a.testbed.point.ID(), protocol: rendezvous.RendezvousID_v001}
				for i := range 10 {
					a.sent.Add(1)
					s.request(groupCtx, registerRequest(fmt.Sprint("crowded-", i), p.envelope, 0))
				}
			})
		}
		_ = group.close()
	}
	<-ctx.Done()
}

// indebtNeighbour brings an address into debt, while an honest peer at it refreshes a
// registration whenever that is due.
func indebtNeighbour(ctx context.Context, a *attackers) {
	h, err := newPeerHost(0, nil)
	if err != nil {
		return
	}
	defer func() { _ = h.Close() }()
	a.testbed.setAddr(h.ID(), a.all[0].addr)
	client := rendezvous.NewClient(h)
	a.testbed.expect(h.ID(), time.Time{})
	defer a.testbed.expect(h.ID(), time.Now().Add(rendezvous.MaxTTL))
	register := func() {
		started := time.Now()
		_, err := client.Register(context.WithoutCancel(ctx), a.testbed.point.ID(), honestNamespace, 0)
		a.stats.record(time.Since(started), err)
	}
	if err := h.Connect(ctx, addrInfo(a.testbed.point)); err != nil {
		a.stats.record(0, err)
		return
	}
	register()
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause(ctx, testTTL*3/5); ctx.Err() == nil; pause(ctx, testTTL*3/5) {
			register()
		}
	})
	repeat(fixed(discoverRequest("nobody", 0)))(ctx, a)
	wg.Wait()
}
