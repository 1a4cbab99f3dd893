package rendezvous

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// answerOf returns the registrations of an answer with these envelopes.
func answerOf(envelopes [][]byte) (all []wire.Registration) {
	for _, e := range envelopes {
		all = append(all, wire.Registration{Namespace: []byte("n"), Envelope: e, TTL: 20})
	}
	return all
}

// TestDiscoveredIsTheCallers: a caller may change what Discover returns. No slice of
// addresses has room that belongs to another, and the next answer is as the first was.
func TestDiscoveredIsTheCallers(t *testing.T) {
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	hostilePoint(point, sending(t, registrations(sealedRecords(t, 3)...)))
	c := NewClient(h)
	want := ma.StringCast(addr)
	for range 2 {
		found, err := c.Discover(t.Context(), point.ID(), "n", 10)
		require.NoError(t, err)
		require.Len(t, found, 3)
		for i := range found {
			addrs := found[i].Peer.Addrs
			require.Len(t, addrs, 1)
			require.Equal(t, 1, cap(addrs))
			require.Equal(t, want, addrs[0])
			addrs[0] = nil
		}
	}
}

// TestAcceptAcrossNamespaces: a peer is accepted once in each namespace.
func TestAcceptAcrossNamespaces(t *testing.T) {
	one, other := sealedRecords(t, 1)[0], sealedRecords(t, 1)[0]
	answer := answerOf([][]byte{one, other, one, one, other})
	answer[2].Namespace, answer[4].Namespace = []byte("m"), []byte("m")
	var ended RequestEnded
	found, err := NewClient(newHost(t)).asker.accept(t.Context(), wire.Waku, "a point", "", answer, &ended)
	require.NoError(t, err)
	require.Equal(t, []int{2, 3, 0}, []int{ended.Checked, ended.Cached, ended.Invalid})
	var namespaces []string
	for _, r := range found {
		namespaces = append(namespaces, r.Namespace)
	}
	require.Equal(t, []string{"n", "n", "m", "m"}, namespaces)
}

// TestLongNamespaces: across all namespaces, a registration in one that is longer than the
// protocol allows is invalid.
func TestLongNamespaces(t *testing.T) {
	for _, d := range []*wire.Dialect{wire.Waku, wire.Standard} {
		answer := answerOf(sealedRecords(t, 2))
		answer[0].Namespace = bytes.Repeat([]byte("n"), d.MaxNamespace)
		answer[1].Namespace = bytes.Repeat([]byte("n"), d.MaxNamespace+1)
		var ended RequestEnded
		found, err := NewClient(newHost(t)).asker.accept(t.Context(), d, "a point", "", answer, &ended)
		require.NoError(t, err)
		require.Equal(t, 1, ended.Invalid)
		require.Len(t, found, 1)
		require.Len(t, found[0].Namespace, d.MaxNamespace)
	}
}

// TestLargeRecordsArePaid: a record with hundreds of addresses, which takes long to parse, counts
// as several.
func TestLargeRecordsArePaid(t *testing.T) {
	c := NewClient(newHost(t))
	key, _ := newKey(t, crypto.Ed25519)
	for size, want := range map[int]int{300: checksAtOnce, 512 + 1024: checksAtOnce / 2} {
		paid := 0
		for c.asker.payCheck(peer.ID(strconv.Itoa(size)), key.GetPublic(), size) == nil {
			paid++
		}
		require.InDelta(t, want, paid, checksPerSecond, "a few are paid for by the time that passes")
	}
}

// TestAnswersAreNotKept: the pool of answers keeps no part of a frame, which may have 4 MiB.
func TestAnswersAreNotKept(t *testing.T) {
	var found bytes.Buffer
	_, err := wire.Standard.WriteFound(&found, make([]byte, 0, 64<<10), []wire.Found{{Namespace: "n", Envelope: []byte("e")}}, []byte("cookie"))
	require.NoError(t, err)
	for _, frame := range [][]byte{
		found.Bytes(),
		wire.Standard.AppendRefusal(nil, wire.Discover, 300, "text"),
		wire.Standard.AppendRefusal(nil, wire.Register, 300, "text"),
	} {
		_, prefix := binary.Uvarint(frame)
		var kept *wire.Answer
		r := message(nil, limit.Request, len(frame), 50, new(RequestEnded), func(_ *wire.Dialect, answer *wire.Answer) error {
			kept = answer
			require.NotZero(t, len(answer.Discover.Cookie)+len(answer.Discover.Text)+len(answer.Register.Text))
			return nil
		})
		require.NoError(t, r.Read(frame[prefix:], StandardID))
		registrations := kept.Discover.Registrations
		require.Empty(t, registrations)
		for _, r := range registrations[:cap(registrations)] {
			require.Zero(t, r)
		}
		kept.Discover.Registrations = nil
		require.Zero(t, *kept)
	}
}

// TestRoomForManyPeers: a client remembers the records of a thousand peers with ten addresses
// each, and that it has seen them.
func TestRoomForManyPeers(t *testing.T) {
	const (
		certhash = "/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ"
		v4, v6   = "/ip4/203.0.113.7/", "/ip6/2001:db8::7/"
	)
	addrs := []string{
		v4 + "tcp/4001", v4 + "udp/4001/quic-v1", v6 + "tcp/4001", v6 + "udp/4001/quic-v1",
		v4 + "udp/4001/quic-v1/webtransport" + certhash + certhash, v4 + "udp/4001/webrtc-direct" + certhash,
		v6 + "udp/4001/quic-v1/webtransport" + certhash + certhash, v6 + "udp/4001/webrtc-direct" + certhash,
		"/dns4/node.example.org/tcp/443/tls/ws", "/ip4/10.0.0.7/tcp/4001",
	}
	h, point := newHost(t), newHost(t)
	connect(t, h, point) // from loopback, so all addresses make sense
	var all [][]byte
	for i := range MaxDiscoverLimit {
		key, id := newKey(t, crypto.Ed25519)
		addrs[9] = "/ip4/10.0.0.7/tcp/" + strconv.Itoa(1+i)
		all = append(all, seal(t, key, id, addrs...))
	}
	a := NewClient(h).asker
	for _, known := range []int{0, MaxDiscoverLimit} {
		var ended RequestEnded
		found, err := a.accept(t.Context(), wire.Waku, point.ID(), "n", answerOf(all), &ended)
		require.NoError(t, err)
		require.Equal(t, known, ended.Cached)
		for i := range found {
			require.Len(t, found[i].Peer.Addrs, len(addrs))
			found[i].TTL = time.Hour
		}
		a.record(a.points.Point(point.ID()), "n", page{dialect: wire.Waku, found: found}, nil)
	}
	require.Len(t, a.points.Sightings().Live("n", 0), MaxDiscoverLimit)
}

// BenchmarkAccept accepts an answer of 50 new registrations, the same answer again, and, by
// 16 clients in turn, answers of 50 out of 1000 known registrations, whose records are then
// no longer in the caches of the processor.
func BenchmarkAccept(b *testing.B) {
	h := newHost(b)
	accept := func(b *testing.B, a *asker, answer []wire.Registration) {
		found, err := a.accept(b.Context(), wire.Waku, "a point", "n", answer, new(RequestEnded))
		if err != nil || len(found) != len(answer) {
			b.Fatal(len(found), err)
		}
	}
	all := sealedRecords(b, 1000)
	few := answerOf(all[:50])
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			accept(b, NewClient(h).asker, few)
		}
	})
	b.Run("known", func(b *testing.B) {
		a := NewClient(h).asker
		for b.Loop() {
			accept(b, a, few)
		}
	})
	b.Run("of many", func(b *testing.B) {
		askers := make([]*asker, 16)
		for i := range askers {
			askers[i] = NewClient(h).asker
			accept(b, askers[i], answerOf(all))
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var frame []byte // the envelopes of an answer are next to each other
		for i := 0; b.Loop(); i++ {
			frame = frame[:0]
			for j := range few {
				e := all[(i+j*len(all)/len(few))%len(all)]
				frame = append(frame, e...)
				few[j].Envelope = frame[len(frame)-len(e):]
			}
			accept(b, askers[i%len(askers)], few)
		}
	})
}
