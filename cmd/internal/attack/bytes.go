package main

// Attacks with time and bytes: requests sent slowly, answers that are large, not read, read
// slowly, or not waited for.

import (
	"context"
	"crypto/rand"
	"errors"
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

// full is a namespace with many large records.
const full = "full"

// fillFull fills the namespace full until soon after the attack.
func fillFull(ctx context.Context, a *attackers) error {
	return fill(ctx, a, full, a.scale.fullSize, time.Now().Add(a.duration+4*time.Second))
}

// fill adds n registrations with large records to the storage.
func fill(ctx context.Context, a *attackers, ns string, n int, deadline time.Time) error {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	envelope, err := sealRecord(key, 1, maximalAddrs...)
	if err != nil {
		return err
	}
	const workers = 16
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = a.testbed.storage.Add(ctx, rendezvous.Record{
					Namespace: ns, Peer: peer.ID(fmt.Sprint(ns, i)), Envelope: envelope, Deadline: deadline,
				}, rendezvous.Quota{})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// expired is a namespace whose many registrations have all just ended.
const expired = "expired"

func fillExpired(ctx context.Context, a *attackers) error {
	deadline := time.Now().Add(2500 * time.Millisecond)
	err := fill(ctx, a, expired, a.scale.expired, deadline)
	pause(ctx, time.Until(deadline))
	return err
}

func afterExpiry(ctx context.Context, a *attackers) {
	repeat(fixed(discoverRequest(expired, 50)))(ctx, a)
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
				// A stream whose answer has been read would rest for longer than the attack.
				defer context.AfterFunc(ctx, func() { _ = st.Reset() })()
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
