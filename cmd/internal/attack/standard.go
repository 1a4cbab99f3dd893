package main

// The attacks over the standard protocol.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// longest is the longest TTL, in seconds.
const longest = uint64(rendezvous.MaxStandardTTL / time.Second)

// Messages of the standard protocol, for which there is no generated code.

func standardFrame(typ uint64, part protowire.Number, fields []byte) []byte {
	m := protowire.AppendVarint([]byte{1 << 3}, typ)
	m = protowire.AppendBytes(protowire.AppendTag(m, part, protowire.BytesType), fields)
	return protowire.AppendBytes(nil, m)
}

func appendField(to []byte, n protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), value)
}

func appendNumber(to []byte, n protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, n, protowire.VarintType), value)
}

func standardRegister(ns string, envelope []byte, ttl uint64) []byte {
	return standardFrame(0, 2, appendNumber(appendField(appendField(nil, 1, []byte(ns)), 2, envelope), 3, ttl))
}

func standardDiscover(ns string, limit uint64, cookie []byte) []byte {
	return standardFrame(3, 5, appendField(appendNumber(appendField(nil, 1, []byte(ns)), 2, limit), 3, cookie))
}

func standardUnregister(ns string) []byte {
	return standardFrame(2, 4, appendField(nil, 1, []byte(ns)))
}

// overStandard is repeat over the standard protocol.
func overStandard(request func(*attacker) []byte) func(context.Context, *attackers) {
	return repeatOver(rendezvous.StandardID, request)
}

// lastingOnce registers for 72 hours, in another namespace each time.
func lastingOnce(a *attacker) []byte {
	return standardRegister(fmt.Sprint("long-", a.n, "-", a.sent.Load()), a.envelope, longest)
}

func rubbishCookie(a *attacker) []byte { return standardDiscover("", 1, rubbish(int(a.sent.Load()))) }

// rubbish returns the ith cookie that no point has made: short, long, or of a distant
// future.
func rubbish(i int) []byte {
	sizes := []int{1, 8, 40, 263, 8 << 10}
	cookie := make([]byte, sizes[i%len(sizes)])
	for j := range cookie {
		cookie[j] = byte(rand.Uint32())
	}
	if i%2 == 0 {
		ahead := binary.BigEndian.AppendUint64(nil, uint64(time.Now().AddDate(100, 0, 0).UnixNano()))
		cookie = fmt.Append(ahead, time.Now().AddDate(100, 0, 0).UnixNano())
	}
	return cookie
}

// cleanUp returns an attack after which the registrations of its attackers are removed,
// because those last longer than anybody waits.
func cleanUp(run func(context.Context, *attackers)) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		run(ctx, a)
		for _, p := range a.all {
			_ = a.testbed.storage.Remove(context.WithoutCancel(ctx), "", p.ID())
		}
	}
}

// withPages returns an attack while there are pages of registrations.
func withPages(run func(context.Context, *attackers)) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		for i := range a.scale.fullSize {
			_ = addLasting(ctx, a.testbed, i, rendezvous.Quota{})
		}
		run(ctx, a)
		removeLasting(ctx, a.testbed, a.scale.fullSize)
	}
}

// lastingPerPeer is how many of the registrations of addLasting are those of one peer.
const (
	lastingPerPeer = 1000
	// perRegistration is less than the bytes that a registration takes, which the limits
	// allow (docs/storage.md). What an attack takes beyond that is growth.
	perRegistration = 256
)

func lastingPeer(i int) peer.ID {
	return peer.ID(fmt.Sprint("a peer that has left, ", i/lastingPerPeer))
}

// addLasting adds the ith registration of 72 hours, of a peer that is not connected.
func addLasting(ctx context.Context, b *testbed, i int, q rendezvous.Quota) error {
	now := time.Now()
	return b.storage.Add(ctx, rendezvous.Record{
		Namespace: fmt.Sprint("last-", i%lastingPerPeer),
		Peer:      lastingPeer(i),
		Envelope:  fmt.Append(make([]byte, 0, 300), "the record of ", lastingPeer(i))[:300],
		Deadline:  now.Add(rendezvous.MaxStandardTTL),
		Fresh:     now.Add(time.Second),
	}, q)
}

// removeLasting removes the first n registrations of addLasting.
func removeLasting(ctx context.Context, b *testbed, n int) {
	for i := 0; i < n; i += lastingPerPeer {
		_ = b.storage.Remove(context.WithoutCancel(ctx), "", lastingPeer(i))
		pause(ctx, time.Millisecond)
	}
}

// fillLasting adds as many registrations of 72 hours as a point has places, straight to the
// storage, and goes on over the network. They must take half of the places, so that the
// honest peers find theirs.
func fillLasting(ctx context.Context, a *attackers) {
	most, added := a.scale.lasting, 0
	if a.testbed.redis != nil {
		most /= 50 // each takes a round trip
	}
	quota := rendezvous.Quota{Total: most}
	for i := range most {
		if addLasting(context.WithoutCancel(ctx), a.testbed, i, quota) == nil {
			added++
		}
		a.sent.Add(1)
		if i%1000 == 0 {
			pause(ctx, time.Millisecond) // the attack is on the places, not on the processor
		}
	}
	a.allowed.Store(int64(added * perRegistration))
	if added != most/2 {
		a.stats.record(0, fmt.Errorf("%d of %d registrations of 72 h were added: they may have half of the places", added, most))
	}
	overStandard(lastingOnce)(ctx, a)
	removeLasting(ctx, a.testbed, most)
}

// floodUnregister sends UNREGISTER, which has no answer, two hundred at a time.
func floodUnregister(ctx context.Context, a *attackers) {
	frames := bytes.Repeat(standardUnregister("nowhere"), 200)
	eachAttacker(a, func(p *attacker) {
		for ctx.Err() == nil {
			floodOnce(ctx, a, p, frames)
			pause(ctx, 10*time.Millisecond)
		}
	})
}

// floodOnce sends frames on a stream until the point resets it.
func floodOnce(ctx context.Context, a *attackers, p *attacker, frames []byte) {
	st, err := p.NewStream(ctx, a.testbed.point.ID(), rendezvous.StandardID)
	if err != nil {
		return
	}
	defer func() { _ = st.Reset() }()
	_ = st.SetDeadline(time.Now().Add(10 * time.Second))
	for ctx.Err() == nil {
		if _, err := st.Write(frames); err != nil {
			return
		}
		a.sent.Add(200)
		pause(ctx, 10*time.Millisecond)
	}
}
