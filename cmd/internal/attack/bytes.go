package main

// Attacks with time and bytes: requests sent slowly, answers that are large, not read, read
// slowly, or not waited for.

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// trickle sends requests a byte at a time.
func trickle(ctx context.Context, a *attackers) {
	eachAttacker(a, func(p *attacker) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
				if err != nil {
					return
				}
				defer func() { _ = st.Reset() }()
				a.sent.Add(1)
				for _, b := range registerRequest("trickle", p.envelope, 0) {
					if _, err := st.Write([]byte{b}); err != nil || ctx.Err() != nil {
						return
					}
					pause(ctx, 50*time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// pipeline sends many requests at once and reads no answer.
func pipeline(ctx context.Context, a *attackers) {
	eachAttacker(a, func(p *attacker) {
		var open []network.Stream
		for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
			st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
			if err != nil {
				continue
			}
			open = append(open, st)
			_ = st.SetWriteDeadline(time.Now().Add(time.Second))
			for range 200 {
				if _, err = st.Write(discoverRequest(honestNamespace, 0)); err != nil {
					break
				}
				a.sent.Add(1)
			}
		}
		resetAll(open)
	})
}

func resetAll(streams []network.Stream) {
	for _, st := range streams {
		_ = st.Reset()
	}
}

// full is a namespace with many large records.
const full = "full"

// onFull returns an attack for which the namespace full is filled first.
func onFull(run func(context.Context, *attackers)) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		ends, _ := ctx.Deadline()
		fill(ctx, a, full, a.scale.fullSize, ends.Add(2*time.Second))
		run(ctx, a)
	}
}

// fill adds n registrations with large records to the storage.
func fill(ctx context.Context, a *attackers, ns string, n int, deadline time.Time) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return
	}
	envelope, err := sealRecord(key, 1, maximalAddrs...)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	const workers = 16
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				err := a.testbed.storage.Add(ctx, rendezvous.Record{
					Namespace: ns, Peer: peer.ID(fmt.Sprint(ns, i)), Envelope: envelope, Deadline: deadline,
				}, rendezvous.Quota{})
				if err != nil {
					a.stats.record(0, fmt.Errorf("fill namespace %s: %w", ns, err))
					return
				}
			}
		})
	}
	wg.Wait()
}

// afterExpiry requests a namespace whose many registrations have all just ended.
func afterExpiry(ctx context.Context, a *attackers) {
	const ns = "expired"
	deadline := time.Now().Add(1500 * time.Millisecond)
	fill(ctx, a, ns, a.scale.expired, deadline)
	pause(ctx, time.Until(deadline))
	repeat(fixed(discoverRequest(ns, 50)))(ctx, a)
}

// readNothing makes the attackers request full, and read none of the answers.
func readNothing(ctx context.Context, a *attackers) {
	eachAttacker(a, func(p *attacker) {
		var wg sync.WaitGroup
		for range a.scale.unreadStreams {
			wg.Go(func() {
				for ctx.Err() == nil {
					st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
					if err == nil {
						_, err = st.Write(discoverRequest(full, 0))
						a.sent.Add(1)
						pause(ctx, 2*time.Second)
					}
					if err != nil {
						pause(ctx, 10*time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
	})
}

// readSlowly makes the attackers read their answers from full a KiB at a time.
func readSlowly(ctx context.Context, a *attackers) {
	eachAttacker(a, func(p *attacker) {
		var wg sync.WaitGroup
		for range a.scale.unreadStreams {
			wg.Go(func() {
				st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
				if err != nil {
					return
				}
				defer func() { _ = st.Reset() }()
				if _, err := st.Write(discoverRequest(full, 0)); err != nil {
					return
				}
				a.sent.Add(1)
				for ctx.Err() == nil {
					if _, err := io.ReadFull(st, make([]byte, 1<<10)); err != nil {
						return
					}
					pause(ctx, 50*time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// resetAfter returns an attack that requests full and resets each stream after a while.
func resetAfter(d time.Duration) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		eachAttacker(a, func(p *attacker) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for ctx.Err() == nil {
						st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
						if err == nil {
							_, _ = st.Write(discoverRequest(full, 0))
							a.sent.Add(1)
						}
						pause(ctx, d)
						if err == nil {
							_ = st.Reset()
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// atMaxMemory lets the server have no memory beyond what it uses, while attackers register
// large records. Honest peers only refresh.
func atMaxMemory(ctx context.Context, a *attackers) {
	if err := a.testbed.redis.limitMemory(ctx); err != nil {
		a.stats.record(0, err)
		return
	}
	repeat(maximalRecord)(ctx, a)
	if err := a.testbed.redis.unlimitMemory(context.WithoutCancel(ctx)); err != nil {
		a.stats.record(0, err)
	}
}
