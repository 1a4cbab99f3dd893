package main

// The attacks.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// scale is how much of each attack there is.
type scale struct {
	peers      int // attackers, unless the attack says otherwise
	streams    int // that are opened and left silent
	crowd      int // identities behind one address
	full       int // registrations in the namespace that is asked for
	honest     int // honest peers
	bufferless int // streams of each attacker on which nothing is read
}

var full = scale{peers: 10, streams: 5000, crowd: 2000, full: 1000, honest: 8, bufferless: 10}

// attack is one way to be hostile.
type attack struct {
	name  string
	peers func(s scale) int
	// crowded has all attackers come from one address.
	crowded bool
	run     func(ctx context.Context, a *attackers)
}

func some(s scale) int { return s.peers }
func one(scale) int    { return 1 }
func none(scale) int   { return 0 }

// enough is how many peers it takes to open all silent streams.
func enough(s scale) int { return max(2, s.streams/100) }

var attacks = []attack{
	{"silent streams", enough, false, held(nil)},
	{"half frames", enough, false, held([]byte("\x80\x02half"))},
	{"16 KiB announced, none sent", enough, false, held([]byte("\x80\x80\x01"))},
	{"4 GiB announced", some, false, repeated(func(*attacker) []byte { return []byte("\x80\x80\x80\x80\x10") })},
	{"REGISTER flood, one identity", one, true, repeated(fresh("flood"))},
	{"REGISTER flood, one address", none, true, waves},
	{"namespaces used once", some, false, repeated(func(a *attacker) []byte {
		return register(fmt.Sprint("once-", a.n, "-", a.sent.Load(), "-", rand.Text()), a.envelope)
	})},
	{"DISCOVER, read by nobody", some, false, stalled},
	{"refresh storm", some, false, repeated(func(a *attacker) []byte { return register("storm", a.envelope) })},
	{"maximal addresses", some, false, repeated(func(a *attacker) []byte {
		envelope, _ := seal(a.key, a.sent.Load(), maximal...)
		return register(fmt.Sprint("maximal-", a.sent.Load()%1000), envelope)
	})},
	{"others' records", some, false, repeated(func(a *attacker) []byte { return register(honestNamespace, a.stolen) })},
	{"maximal and skewed Seq", some, false, repeated(func(a *attacker) []byte {
		seqs := []uint64{math.MaxUint64, 0, uint64(time.Now().Add(1e6 * time.Hour).UnixNano())}
		envelope, _ := seal(a.key, seqs[a.sent.Load()%3], a.addr)
		return register("skewed", envelope)
	})},
	{"a hostile point", none, false, hostilePoint},
}

// maximal are as many bytes of addresses as a record may have.
var maximal = func() (addrs []ma.Multiaddr) {
	for i := range 2048 / 8 {
		addrs = append(addrs, address(i))
	}
	return addrs
}()

// attackers are the hostile peers of one attack.
type attackers struct {
	bed    *bed
	honest *experience
	scale  scale
	all    []*attacker
	sent   atomic.Int64 // requests, or streams that are held
}

// attacker is one hostile peer.
type attacker struct {
	host.Host
	n        int
	key      crypto.PrivKey
	addr     ma.Multiaddr
	envelope []byte // its own
	stolen   []byte // another's
	sent     atomic.Uint64
}

// recruit connects n attackers to the point.
func (a *attackers) recruit(ctx context.Context, n int, crowded bool) error {
	otherKey, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	stolen, err := seal(otherKey, 1, address(0))
	if err != nil {
		return err
	}
	for i := range n {
		h, err := newPeer(i)
		if err != nil {
			return err
		}
		one := &attacker{Host: h, n: i, key: h.Peerstore().PrivKey(h.ID()), addr: address(1 << 12), stolen: stolen}
		if !crowded {
			one.addr = address(1<<12 + i)
		}
		a.all = append(a.all, one)
		a.bed.place(h.ID(), one.addr)
		if one.envelope, err = seal(one.key, 1, one.addr); err != nil {
			return err
		}
		if err := h.Connect(ctx, info(a.bed.point)); err != nil {
			return err
		}
	}
	return nil
}

func (a *attackers) dismiss() error {
	var errs []error
	for _, one := range a.all {
		errs = append(errs, one.Close())
	}
	a.all = nil
	return errors.Join(errs...)
}

// held has the attackers open all the streams within five seconds or so, send the
// same few bytes on each and then nothing.
func held(sent []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var wg sync.WaitGroup
		for _, one := range a.all {
			wg.Go(func() {
				for range a.scale.streams / len(a.all) {
					st, err := one.NewStream(ctx, a.bed.point.ID(), rendezvous.RendezvousID_v001)
					if err == nil {
						_, err = st.Write(sent)
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

// repeated has each attacker send requests on four streams, hundreds a second in
// all, which is several times what it may: the attackers' own work should not be
// what honest peers notice.
func repeated(request func(*attacker) []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var wg sync.WaitGroup
		for _, one := range a.all {
			for range 4 {
				wg.Go(func() {
					s := session{from: one, to: a.bed.point.ID()}
					for ctx.Err() == nil {
						one.sent.Add(1)
						a.sent.Add(1)
						s.ask(ctx, request(one))
						pause(ctx, 10*time.Millisecond)
					}
				})
			}
		}
		wg.Wait()
	}
}

// fresh is a registration whose record no one has verified before.
func fresh(ns string) func(*attacker) []byte {
	return func(a *attacker) []byte {
		envelope, _ := seal(a.key, a.sent.Load(), a.addr)
		return register(ns, envelope)
	}
}

// wave is how many of many identities come at a time.
const wave = 50

// waves has many identities come from one address, a wave at a time, each to
// register in several namespaces with a record of its own and leave.
func waves(ctx context.Context, a *attackers) {
	whole := context.WithoutCancel(ctx) // a wave that has begun is not cut short
	for came := 0; came < a.scale.crowd && ctx.Err() == nil; came += wave {
		arrived := &attackers{bed: a.bed}
		if arrived.recruit(whole, min(wave, a.scale.crowd), true) == nil {
			var wg sync.WaitGroup
			for _, one := range arrived.all {
				wg.Go(func() {
					s := session{from: one, to: a.bed.point.ID()}
					for i := range 10 {
						a.sent.Add(1)
						s.ask(whole, register(fmt.Sprint("crowded-", i), one.envelope))
					}
				})
			}
			wg.Wait()
		}
		_ = arrived.dismiss()
	}
	<-ctx.Done()
}

// stalled has the attackers ask for a full namespace and read nothing.
func stalled(ctx context.Context, a *attackers) {
	for range a.scale.full {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			return
		}
		envelope, _ := seal(key, 1, maximal...)
		id, _ := peer.IDFromPrivateKey(key)
		_ = a.bed.storage.Add(ctx, rendezvous.Record{Namespace: "full", Peer: id, Envelope: envelope, Deadline: time.Now().Add(rendezvous.MaxTTL)}, rendezvous.Quota{})
	}
	var wg sync.WaitGroup
	for _, one := range a.all {
		for range a.scale.bufferless {
			wg.Go(func() {
				for ctx.Err() == nil {
					st, err := one.NewStream(ctx, a.bed.point.ID(), rendezvous.RendezvousID_v001)
					if err == nil {
						_, err = st.Write(discover("full"))
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

// hostilePoint has a point answer what no client should believe, wait for or keep.
func hostilePoint(ctx context.Context, a *attackers) {
	evil, err := newPeer(0)
	if err != nil {
		return
	}
	defer func() { _ = evil.Close() }()
	var n atomic.Int64
	evil.SetStreamHandler(rendezvous.RendezvousID_v001, func(st network.Stream) {
		defer func() { _ = st.Reset() }()
		lie(ctx, st, int(n.Add(1)))
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			h, err := newPeer(2 * i)
			if err != nil {
				return
			}
			defer func() { _ = h.Close() }()
			if h.Connect(ctx, info(evil)) != nil {
				return
			}
			client := rendezvous.NewClient(h)
			for ctx.Err() == nil {
				a.sent.Add(1)
				begun := time.Now()
				found, err := client.Discover(ctx, evil.ID(), "n", 0)
				if took := time.Since(begun); len(found) > 0 || took > 10*time.Second {
					a.honest.note(0, fmt.Errorf("a hostile point had a client wait for %v and find %d peers (%w)", took, len(found), err))
				}
			}
		})
	}
	wg.Wait()
}

// lie answers a request in one of several wrong ways.
func lie(ctx context.Context, st network.Stream, n int) {
	switch n % 6 {
	case 0: // as long an answer as there may be, of records that are none
		garbage := &pb.Message_Register{Ns: "n", SignedPeerRecord: make([]byte, 8<<10), Ttl: math.MaxInt64}
		d := &pb.Message_DiscoverResponse{Registrations: slices.Repeat([]*pb.Message_Register{garbage}, 500)}
		_, _ = st.Write(frame(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: d}))
	case 1:
		_, _ = st.Write([]byte("\x80\x80\x80\x80\x10")) // 4 GiB to come
		pause(ctx, time.Second)
	case 2: // a byte now and then
		for range 50 {
			if _, err := st.Write([]byte{0x80}); err != nil || ctx.Err() != nil {
				return
			}
			pause(ctx, 100*time.Millisecond)
		}
	case 3: // an answer to something else
		_, _ = st.Write(frame(&pb.Message{Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: &pb.Message_RegisterResponse{Ttl: math.MaxInt64}}))
	case 4: // a refusal with a novel in it
		_, _ = st.Write(frame(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: &pb.Message_DiscoverResponse{Status: 400, StatusText: string(make([]byte, 1<<20))}}))
	default:
		_, _ = st.Write(make([]byte, 1<<16))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
