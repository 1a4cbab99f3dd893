package main

// The attacks on a point.

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// attack is one way to be hostile. It runs until its context ends.
type attack struct {
	name     string
	peers    func(s scale) int // attackers to connect beforehand
	sameAddr bool              // all attackers come from the same address
	run      func(ctx context.Context, a *attackers)
}

func usualPeers(s scale) int { return s.peers }
func onePeer(scale) int      { return 1 }
func noPeers(scale) int      { return 0 }

// idlePeers returns how many attackers it takes to open all idle streams.
func idlePeers(s scale) int { return max(2, s.idleStreams/100) }

var attacks = []attack{
	{"silent streams", idlePeers, false, leaveIdle(nil)},
	{"half frames", idlePeers, false, leaveIdle([]byte("\x80\x02half"))},
	{"16 KiB announced, none sent", idlePeers, false, leaveIdle([]byte("\x80\x80\x01"))},
	{"4 GiB announced", usualPeers, false, repeat(func(*attacker) []byte { return []byte("\x80\x80\x80\x80\x10") })},
	{"REGISTER flood, one identity", onePeer, true, repeat(newRecordRequest("flood"))},
	{"REGISTER flood, one address", noPeers, true, manyIdentities},
	{"namespaces used once", usualPeers, false, repeat(func(a *attacker) []byte {
		return registerRequest(fmt.Sprint("once-", a.n, "-", a.sent.Load(), "-", rand.Text()), a.envelope)
	})},
	{"DISCOVER, answers not read", usualPeers, false, readNothing},
	{"refresh storm", usualPeers, false, repeat(func(a *attacker) []byte { return registerRequest("storm", a.envelope) })},
	{"maximal addresses", usualPeers, false, repeat(func(a *attacker) []byte {
		envelope, _ := sealRecord(a.key, a.sent.Load(), maximalAddrs...)
		return registerRequest(fmt.Sprint("maximal-", a.sent.Load()%1000), envelope)
	})},
	{"others' records", usualPeers, false, repeat(func(a *attacker) []byte { return registerRequest(honestNamespace, a.stolen) })},
	{"maximal and skewed Seq", usualPeers, false, repeat(func(a *attacker) []byte {
		seqs := []uint64{math.MaxUint64, 0, uint64(time.Now().Add(1e6 * time.Hour).UnixNano())}
		envelope, _ := sealRecord(a.key, seqs[a.sent.Load()%3], a.addr)
		return registerRequest("skewed", envelope)
	})},
	{"a hostile point", noPeers, false, runHostilePoint},
}

// maximalAddrs fills the 2048 bytes that the addresses of a record may have.
var maximalAddrs = func() (addrs []ma.Multiaddr) {
	for i := range 2048 / 8 {
		addrs = append(addrs, publicAddr(i))
	}
	return addrs
}()

// leaveIdle returns an attack that opens all idle streams in about five seconds, and
// sends the same few bytes on each of them.
func leaveIdle(bytes []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var wg sync.WaitGroup
		for _, p := range a.all {
			wg.Go(func() {
				for range a.scale.idleStreams / len(a.all) {
					st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
					if err == nil {
						_, err = st.Write(bytes)
					}
					if err == nil {
						a.sent.Add(1)
					}
					pause(ctx, 50*time.Millisecond)
				}
			})
		}
		wg.Wait()
		<-ctx.Done()
	}
}

// repeat returns an attack in which each attacker sends requests over four streams. That
// is several hundred requests per second, a multiple of the rate limit, but not so many
// that the attackers' own work delays honest peers.
func repeat(request func(*attacker) []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var wg sync.WaitGroup
		for _, p := range a.all {
			for range 4 {
				wg.Go(func() {
					s := session{host: p, point: a.testbed.point.ID()}
					for ctx.Err() == nil {
						p.sent.Add(1)
						a.sent.Add(1)
						s.request(ctx, request(p))
						pause(ctx, 10*time.Millisecond)
					}
				})
			}
		}
		wg.Wait()
	}
}

// newRecordRequest returns registrations with a new record each time, so that the point
// has to verify a signature.
func newRecordRequest(ns string) func(*attacker) []byte {
	return func(a *attacker) []byte {
		envelope, _ := sealRecord(a.key, a.sent.Load(), a.addr)
		return registerRequest(ns, envelope)
	}
}

// manyIdentities connects many peers from the same address, in groups. Each peer
// registers in several namespaces and disconnects.
func manyIdentities(ctx context.Context, a *attackers) {
	const groupSize = 50
	groupCtx := context.WithoutCancel(ctx) // the last group may finish
	for started := 0; started < a.scale.identities && ctx.Err() == nil; started += groupSize {
		group := &attackers{testbed: a.testbed}
		if group.connect(groupCtx, min(groupSize, a.scale.identities), true) == nil {
			var wg sync.WaitGroup
			for _, p := range group.all {
				wg.Go(func() {
					s := session{host: p, point: a.testbed.point.ID()}
					for i := range 10 {
						a.sent.Add(1)
						s.request(groupCtx, registerRequest(fmt.Sprint("crowded-", i), p.envelope))
					}
				})
			}
			wg.Wait()
		}
		_ = group.close()
	}
	<-ctx.Done()
}

// readNothing makes the attackers request a namespace with large records, and read none
// of the answers.
func readNothing(ctx context.Context, a *attackers) {
	const ns = "full"
	for range a.scale.fullSize {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			return
		}
		envelope, _ := sealRecord(key, 1, maximalAddrs...)
		id, _ := peer.IDFromPrivateKey(key)
		_ = a.testbed.storage.Add(ctx, rendezvous.Record{Namespace: ns, Peer: id, Envelope: envelope, Deadline: time.Now().Add(rendezvous.MaxTTL)}, rendezvous.Quota{})
	}
	var wg sync.WaitGroup
	for _, p := range a.all {
		for range a.scale.unreadStreams {
			wg.Go(func() {
				for ctx.Err() == nil {
					st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.RendezvousID_v001)
					if err == nil {
						_, err = st.Write(discoverRequest(ns))
						a.sent.Add(1)
						pause(ctx, 2*time.Second)
					}
					if err != nil {
						pause(ctx, 10*time.Millisecond)
					}
				}
			})
		}
	}
	wg.Wait()
}
