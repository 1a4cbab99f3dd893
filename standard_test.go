package rendezvous

// The standard protocol at a point.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// routingState is a peer record as rust-libp2p signs it.
type routingState struct{ peer.PeerRecord }

func (*routingState) Domain() string { return "libp2p-routing-state" }
func (*routingState) Codec() []byte  { return []byte("/libp2p/routing-state-record") }

// standardPeer is a peer that speaks the standard protocol to a point, on one stream.
type standardPeer struct {
	network.Stream
	t       testing.TB
	host    host.Host
	r       *bufio.Reader
	records map[RecordKind][]byte
}

// openStandard opens a stream, which waits until it has a request.
func openStandard(t testing.TB, from, to host.Host, id ...protocol.ID) *standardPeer {
	t.Helper()
	st, err := from.NewStream(t.Context(), to.ID(), append(id, StandardID)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Reset() })
	return &standardPeer{Stream: st, t: t, host: from, r: bufio.NewReader(st), records: make(map[RecordKind][]byte)}
}

// joinStandard connects a new peer to a point.
func joinStandard(t testing.TB, point host.Host, opts ...libp2p.Option) *standardPeer {
	t.Helper()
	h := newHost(t, opts...)
	connect(t, h, point)
	return openStandard(t, h, point)
}

func (p *standardPeer) send(r *wire.Request) {
	p.t.Helper()
	_, err := p.Write(wire.Standard.AppendRequest(nil, r))
	require.NoError(p.t, err)
}

// next reads an answer.
func (p *standardPeer) next() (*wire.Answer, error) {
	frame, err := wire.ReadFrame(p.r, nil, wire.Standard.MaxAnswer)
	if err != nil {
		return nil, err
	}
	a := new(wire.Answer)
	return a, wire.Standard.ParseAnswer(a, frame, 10*MaxDiscoverLimit)
}

func (p *standardPeer) ask(r *wire.Request) *wire.Answer {
	p.t.Helper()
	p.send(r)
	a, err := p.next()
	require.NoError(p.t, err)
	return a
}

// record returns the peer's record of a kind, the same each time.
func (p *standardPeer) record(kind RecordKind) []byte {
	p.t.Helper()
	if p.records[kind] == nil {
		p.records[kind] = p.seal(kind)
	}
	return p.records[kind]
}

func (p *standardPeer) seal(kind RecordKind) []byte {
	p.t.Helper()
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = p.host.ID(), []ma.Multiaddr{ma.StringCast(addr)}
	key := p.host.Peerstore().PrivKey(p.host.ID())
	if kind == KindRoutingState {
		return sealRecord(p.t, key, &routingState{*rec})
	}
	return sealRecord(p.t, key, rec)
}

// register registers a record of a kind, and returns the answer.
func (p *standardPeer) register(ns string, kind RecordKind, ttl time.Duration) wire.RegisterAnswer {
	p.t.Helper()
	return p.ask(&wire.Request{Kind: wire.Register, Register: wire.Registration{
		Namespace: []byte(ns), Envelope: p.record(kind), TTL: wireSeconds(ttl),
	}}).Register
}

// mustRegister registers the usual kind of record.
func (p *standardPeer) mustRegister(ns string, ttl time.Duration) {
	p.t.Helper()
	require.Equal(p.t, wire.RegisterAnswer{Present: true, TTL: wireSeconds(ttl)}, p.register(ns, KindPeerRecord, ttl))
}

// unregister sends an UNREGISTER, and then a request that has an answer.
func (p *standardPeer) unregister(ns string) {
	p.t.Helper()
	p.send(&wire.Request{Kind: wire.Unregister, Unregister: []byte(ns)})
	p.discover("nowhere", 1, nil)
}

func (p *standardPeer) discover(ns string, limit int, cookie []byte) wire.DiscoverAnswer {
	p.t.Helper()
	a := p.ask(&wire.Request{Kind: wire.Discover, Discover: wire.Query{Namespace: []byte(ns), Limit: int64(limit), Cookie: cookie}})
	require.True(p.t, a.Discover.Present)
	return a.Discover
}

// page is discover for an answer that is OK. It returns whom it found, as "namespace peer",
// and the cookie.
func (p *standardPeer) page(ns string, limit int, cookie []byte) (found []string, next []byte) {
	p.t.Helper()
	a := p.discover(ns, limit, cookie)
	require.Zero(p.t, a.Status, a.Text)
	require.GreaterOrEqual(p.t, len(a.Cookie), 8, "rust-libp2p needs eight bytes")
	require.LessOrEqual(p.t, len(a.Cookie), 8+255)
	for _, r := range a.Registrations {
		require.Positive(p.t, r.TTL)
		found = append(found, string(r.Namespace)+" "+peerOf(p.t, r.Envelope).String())
	}
	return found, slices.Clone(a.Cookie)
}

// all follows cookies to the end. It returns whom it found, and the last cookie.
func (p *standardPeer) all(ns string, limit int, cookie []byte) (found []string, last []byte) {
	p.t.Helper()
	for {
		some, next := p.page(ns, limit, cookie)
		if len(some) == 0 {
			return found, next
		}
		require.LessOrEqual(p.t, len(some), limit)
		found, cookie = append(found, some...), next
	}
}

// peerOf returns whom a record names. It verifies nothing.
func peerOf(t testing.TB, envelope []byte) peer.ID {
	t.Helper()
	_, body, ok := bytes.Cut(envelope, []byte("\x08\x01\x12\x20")) // an Ed25519 key
	require.True(t, ok)
	key, err := crypto.UnmarshalEd25519PublicKey(body[:ed25519.PublicKeySize])
	require.NoError(t, err)
	id, err := peer.IDFromPublicKey(key)
	require.NoError(t, err)
	return id
}

// in is how page names a peer in a namespace.
func in(ns string, h host.Host) string { return ns + " " + h.ID().String() }

// discovered returns whom a client of the other protocol finds in a namespace.
func discovered(t testing.TB, h, point host.Host, ns string) (ids []peer.ID) {
	t.Helper()
	connect(t, h, point)
	found, err := NewClient(h).Discover(t.Context(), point.ID(), ns, 0)
	require.NoError(t, err)
	for _, r := range found {
		ids = append(ids, r.Peer.ID)
	}
	return ids
}

// standardPoint starts a point that serves the standard protocol.
func standardPoint(t testing.TB, s Storage, opts ...ServiceOption) host.Host {
	t.Helper()
	h := newHost(t)
	startPoint(t, h, s, append([]ServiceOption{WithStandardProtocol(0, 0)}, opts...)...)
	return h
}

// standardVector is a request of another program, and the right answer.
type standardVector struct {
	Name      string `json:"name"`
	Direction string `json:"direction"`
	Seed      byte   `json:"from_seed"`
	Frame     string `json:"frame_hex"`
	Answer    struct {
		Type   string `json:"type"`
		Status int32  `json:"status"`
		TTL    int64  `json:"ttl"`
		None   bool   `json:"none"`
		Reset  bool   `json:"reset"`
	} `json:"answer"`
}

func (v *standardVector) identity(t testing.TB) libp2p.Option {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{v.Seed}, ed25519.SeedSize)))
	require.NoError(t, err)
	return libp2p.Identity(key)
}

// TestStandardVectors sends the requests of other programs to a point, each from the peer
// that made it.
func TestStandardVectors(t *testing.T) {
	text, err := os.ReadFile("internal/wire/testdata/vectors/standard.json")
	require.NoError(t, err)
	var all []standardVector
	require.NoError(t, json.Unmarshal(text, &all))
	point := standardPoint(t, pagingStorage(t), WithRateLimit(0, 0))
	hosts := make(map[byte]host.Host)
	sent := 0
	for _, v := range all {
		if v.Direction != "request" {
			continue
		}
		if hosts[v.Seed] == nil {
			hosts[v.Seed] = newHost(t, v.identity(t))
			connect(t, hosts[v.Seed], point)
		}
		sent++
		t.Run(v.Name, func(t *testing.T) {
			frame, err := hex.DecodeString(v.Frame)
			require.NoError(t, err)
			checkVector(t, openStandard(t, hosts[v.Seed], point), &v, frame)
		})
	}
	require.Equal(t, 55, sent)
}

func checkVector(t *testing.T, p *standardPeer, v *standardVector, frame []byte) {
	t.Helper()
	_, err := p.Write(frame)
	require.NoError(t, err)
	if v.Answer.None {
		p.discover("nowhere", 1, nil) // its answer is the first
		return
	}
	a, err := p.next()
	if v.Answer.Reset {
		require.Equal(t, network.StreamProtocolViolation, resetCodeOf(t, err))
		return
	}
	require.NoError(t, err)
	require.Equal(t, v.Answer.Type, a.Kind.String())
	require.Equal(t, v.Answer.Status, a.Register.Status+a.Discover.Status)
	require.Equal(t, v.Answer.TTL, a.Register.TTL)
	require.Equal(t, v.Answer.Status != 0, a.Register.Text+a.Discover.Text != "")
	require.Equal(t, a.Kind == wire.DiscoverResponse && v.Answer.Status == 0, len(a.Discover.Cookie) > 0)
}

// TestStandardPages: a peer that follows cookies finds each registration once, and then what is
// new or was refreshed.
func TestStandardPages(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		point := standardPoint(t, s)
		var peers []*standardPeer
		var want []string
		for range 7 {
			p := joinStandard(t, point)
			p.mustRegister("news", 2*time.Hour)
			peers, want = append(peers, p), append(want, in("news", p.host))
		}
		peers[0].mustRegister("weather", time.Hour)
		asker := joinStandard(t, point)
		for _, limit := range []int{1, 2, 7, 1000} {
			found, _ := asker.all("news", limit, nil)
			require.Equal(t, want, found, "in the order of registration")
		}
		found, cookie := asker.all("news", 3, nil)
		require.Equal(t, want, found)
		found, everywhere := asker.all("", 3, nil)
		require.Equal(t, append(slices.Clone(want), in("weather", peers[0].host)), found)

		peers[2].mustRegister("news", 2*time.Hour)
		peers[3].unregister("news")
		found, _ = asker.all("news", 3, cookie)
		require.Equal(t, []string{want[2]}, found)
		for _, foreign := range [][]byte{everywhere, cookie[:len(cookie)-1], cookie[:8], []byte("rubbish"), bytes.Repeat([]byte{0xff}, 8<<10), {}} {
			found, _ = asker.all("news", 1000, foreign)
			require.ElementsMatch(t, slices.Delete(slices.Clone(want), 3, 4), found, "%q is no cookie", foreign)
		}
		found, _ = asker.all("weather", 1000, cookie)
		require.Len(t, found, 1, "a cookie of another namespace is none")
		ahead := binary.BigEndian.AppendUint64(nil, 1<<62)
		found, _ = asker.all("news", 1000, append(ahead, "9999999999"...))
		require.Len(t, found, 6, "a cookie that nobody made is none")
	})
}

// TestStandardTTL: TTLs as asked up to the longest.
func TestStandardTTL(t *testing.T) {
	point := newHost(t)
	startPoint(t, point, pagingStorage(t), WithStandardProtocol(time.Minute, time.Hour))
	p := joinStandard(t, point)
	for ttl, want := range map[time.Duration]time.Duration{0: time.Minute, time.Second: time.Second, time.Hour: time.Hour} {
		require.Equal(t, wire.RegisterAnswer{Present: true, TTL: wireSeconds(want)}, p.register("news", KindPeerRecord, ttl))
	}
	refused := p.register("news", KindPeerRecord, time.Hour+time.Second)
	require.EqualValues(t, pb.Message_E_INVALID_TTL, refused.Status)
	require.EqualValues(t, pb.Message_E_INVALID_TTL, p.ask(&wire.Request{Kind: wire.Register, Register: wire.Registration{
		Namespace: []byte("news"), Envelope: p.record(KindPeerRecord), TTL: 1 << 62,
	}}).Register.Status)
}

// TestBothProtocols: a peer that registers over one protocol is found over the other.
func TestBothProtocols(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		point, node := standardPoint(t, s), newHost(t)
		browser := joinStandard(t, point)
		connect(t, node, point)
		_, err := NewClient(node).Register(t.Context(), point.ID(), "news", 0)
		require.NoError(t, err)
		browser.mustRegister("news", 2*time.Hour)

		found, _ := browser.page("news", 0, nil)
		require.Equal(t, []string{in("news", node), in("news", browser.host)}, found)
		require.ElementsMatch(t, []peer.ID{node.ID(), browser.host.ID()}, discovered(t, node, point, "news"))

		browser.unregister("")
		require.Equal(t, []peer.ID{node.ID()}, discovered(t, node, point, "news"))
	})
}

// TestFreshness, in virtual time: a registration of hours is in samples as long as its peer
// is connected, and no longer than 21 seconds afterwards.
func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, storage := simHosts(t, 4), pagingStorage(t)
		point, node := hosts[0], hosts[1]
		startPoint(t, point, storage, WithStandardProtocol(0, 0))
		stays, leaves := hosts[2], hosts[3]
		for _, h := range []host.Host{stays, leaves} {
			connect(t, h, point)
			openStandard(t, h, point).mustRegister("news", 2*time.Hour)
		}
		time.Sleep(5 * time.Minute)
		require.ElementsMatch(t, []peer.ID{stays.ID(), leaves.ID()}, discovered(t, node, point, "news"))

		require.NoError(t, leaves.Close())
		time.Sleep(21 * time.Second)
		require.Equal(t, []peer.ID{stays.ID()}, discovered(t, node, point, "news"))
		found, _ := openStandard(t, stays, point).page("news", 0, nil)
		require.Len(t, found, 2, "the standard protocol has all")
	})
}

// TestFreshnessOfSilentPeer: a peer that vanishes without a word is in samples for as long as
// libp2p takes it for connected, which is half a minute, and no longer than 21 seconds afterwards.
func TestFreshnessOfSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 3, 10*time.Millisecond)
		point, node, vanishes := sim.hosts[0], sim.hosts[1], sim.hosts[2]
		startPoint(t, point, pagingStorage(t), WithStandardProtocol(0, 0))
		connect(t, vanishes, point)
		openStandard(t, vanishes, point).mustRegister("news", 2*time.Hour)
		time.Sleep(5 * time.Minute)
		sim.unplug(2, true)
		gone := time.Now()
		var connected time.Time
		for connected.IsZero() || time.Since(connected) < 21*time.Second {
			if connected.IsZero() && !isConnected(point, vanishes.ID()) {
				connected = time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.Empty(t, discovered(t, node, point, "news"))
		t.Logf("without a word: connected for %v, and in no sample after %v", connected.Sub(gone), time.Since(gone))
		require.Less(t, time.Since(gone), time.Minute)
	})
}

// TestFreshnessAfterRestart, in virtual time: a peer that vanished while a point was down is in no
// sample 21 seconds later. Pages still have its registration, and cookies stay valid.
func TestFreshnessAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, dir := simHosts(t, 4), t.TempDir()
		point, node, asker := hosts[0], hosts[1], hosts[3]
		defer time.Sleep(time.Minute) // goroutines of a closed LevelDB end later
		before, end := levelDBPager(t, dir)
		service := startPoint(t, point, before, WithStandardProtocol(0, 0))
		connect(t, hosts[2], point)
		openStandard(t, hosts[2], point).mustRegister("news", 2*time.Hour)
		time.Sleep(5 * time.Minute)
		require.Equal(t, []peer.ID{hosts[2].ID()}, discovered(t, node, point, "news"))
		connect(t, asker, point)
		_, cookie := openStandard(t, asker, point).all("news", 10, nil)
		service.Stop()
		end()

		require.NoError(t, hosts[2].Close())
		after, end := levelDBPager(t, dir)
		defer end()
		defer startPoint(t, point, after, WithStandardProtocol(0, 0)).Stop()
		time.Sleep(21 * time.Second)
		require.Empty(t, discovered(t, node, point, "news"))
		p := openStandard(t, asker, point)
		found, _ := p.all("news", 10, nil)
		require.Equal(t, []string{in("news", hosts[2])}, found)
		found, _ = p.all("news", 10, cookie)
		require.Empty(t, found)
		p.mustRegister("news", time.Hour)
		found, _ = p.all("news", 10, cookie)
		require.Equal(t, []string{in("news", asker)}, found)
	})
}

// TestForgetsRegistrants: registrations that have ended take no memory in the service.
func TestForgetsRegistrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, storage := simHosts(t, 3), pagingStorage(t)
		service := startPoint(t, hosts[0], storage, WithStandardProtocol(0, 0))
		known := func() int {
			s := service.running.requests.standard
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.registrants)
		}
		for i, ttl := range []time.Duration{time.Hour, time.Minute} {
			connect(t, hosts[i+1], hosts[0])
			openStandard(t, hosts[i+1], hosts[0]).mustRegister("news", ttl)
		}
		require.Equal(t, 2, known())
		time.Sleep(61*time.Second + renewInterval)
		require.Equal(t, 1, known(), "its only registration has ended")
		require.NoError(t, hosts[1].Close())
		time.Sleep(renewInterval + time.Second)
		require.Zero(t, known(), "it is gone")
	})
}

// TestRegistrantsThatHaveGone: peers that came, registered and went do not keep the point from
// remembering one that is connected.
func TestRegistrantsThatHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, storage := simHosts(t, 2), pagingStorage(t)
		service := startPoint(t, hosts[0], storage, WithStandardProtocol(0, 0))
		connect(t, hosts[1], hosts[0])
		s := service.running.requests.standard
		now := time.Now()
		for i := range maxRegistrants {
			s.registered(peer.ID(fmt.Sprint("gone ", i)), KindPeerRecord, now.Add(time.Hour), now)
		}
		openStandard(t, hosts[1], hosts[0]).mustRegister("news", time.Hour)
		s.mu.Lock()
		require.Len(t, s.registrants, maxRegistrants)
		s.mu.Unlock()
		time.Sleep(freshTime + 2*renewInterval)
		require.Equal(t, 1, live(t, storage, "news"), "its registration is renewed")
	})
}

// TestRenewFails: a storage that fails or panics does not end the renewal.
func TestRenewFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, storage := simHosts(t, 3), &failingRenewal{Pager: pagingStorage(t)}
		startPoint(t, hosts[0], storage, WithStandardProtocol(0, 0))
		connect(t, hosts[1], hosts[0])
		openStandard(t, hosts[1], hosts[0]).mustRegister("news", time.Hour)
		time.Sleep(25 * time.Second) // one call panics and one fails
		require.Empty(t, discovered(t, hosts[2], hosts[0], "news"))
		time.Sleep(renewInterval)
		require.Len(t, discovered(t, hosts[2], hosts[0], "news"), 1)
		require.EqualValues(t, 3, storage.calls.Load())
	})
}

// partial is a Pager of which a part cannot be reached: that of a peer.
type partial struct {
	Pager
	lost peer.ID
}

func (s partial) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	if i := slices.Index(peers, s.lost); i >= 0 {
		return errors.Join(ErrUnreachable, s.Pager.Renew(ctx, slices.Delete(slices.Clone(peers), i, i+1), fresh))
	}
	return s.Pager.Renew(ctx, peers, fresh)
}

// TestRenewInPart: if a part of the storage cannot be reached, the peers of all others are
// renewed, in whichever batch they are.
func TestRenewInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 2*renewBatch + 10
		storage := pagingStorage(t)
		var ids []peer.ID
		for i := range peers {
			ids = append(ids, peer.ID(fmt.Sprint(i)))
			now := time.Now()
			require.NoError(t, storage.Add(t.Context(), Record{Namespace: "n", Peer: ids[i], Envelope: []byte("e"), Fresh: now.Add(freshTime), Deadline: now.Add(time.Hour)}, Quota{}))
		}
		s, err := newStandard(nil, partial{storage, ids[0]}, defaultServiceConfig().metrics)
		require.NoError(t, err)
		require.NoError(t, s.begin(t.Context()))
		time.Sleep(freshTime - time.Second)
		require.ErrorIs(t, s.renewPeers(t.Context(), ids, time.Now()), ErrUnreachable)
		time.Sleep(2 * time.Second)
		found, err := storage.Sample(t.Context(), "n", 2*peers, 0)
		require.NoError(t, err)
		require.Equal(t, peers-1, len(found)) //nolint:testifylint // Len prints all of them

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.renewPeers(ctx, ids, time.Now()), context.Canceled)
	})
}

// TestUnregister: a peer can end its own registrations only. It gets no answer.
func TestUnregister(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		point := standardPoint(t, s)
		one, other := joinStandard(t, point), joinStandard(t, point)
		for _, ns := range []string{"news", "weather", "sports"} {
			one.mustRegister(ns, time.Hour)
			other.mustRegister(ns, time.Hour)
		}
		one.unregister("news")
		found, _ := one.page("news", 0, nil)
		require.Equal(t, []string{in("news", other.host)}, found)
		one.unregister("nowhere")
		one.unregister(strings.Repeat("n", 10_000))
		found, _ = one.page("", 0, nil)
		require.Len(t, found, 5)
		one.unregister("")
		found, _ = one.page("", 0, nil)
		require.ElementsMatch(t, []string{in("news", other.host), in("weather", other.host), in("sports", other.host)}, found)
	})
}

// TestHalfClosed: rust-libp2p closes its side before it reads.
func TestHalfClosed(t *testing.T) {
	for _, transport := range []string{overTCP, overQUIC} {
		t.Run(transport, func(t *testing.T) {
			point, h := newHostOver(t, transport), newHostOver(t, transport)
			startPoint(t, point, pagingStorage(t), WithStandardProtocol(0, 0))
			connect(t, h, point)
			for range 20 {
				p := openStandard(t, h, point)
				p.send(&wire.Request{Kind: wire.Register, Register: wire.Registration{Namespace: []byte("n"), Envelope: p.record(KindPeerRecord)}})
				require.NoError(t, p.CloseWrite())
				a, err := p.next()
				require.NoError(t, err)
				require.Equal(t, int64(7200), a.Register.TTL)
				_, err = p.next()
				require.ErrorIs(t, err, io.EOF)
			}
		})
	}
}

// TestKinds: each asker gets records of the kind that it can read. What rust-libp2p signs
// is invalid in the other protocol, also if its signature was checked before.
func TestKinds(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		point := standardPoint(t, s)
		usual, rust := joinStandard(t, point), joinStandard(t, point)
		usual.mustRegister("news", time.Hour)
		require.Zero(t, rust.register("news", KindRoutingState, time.Hour).Status)

		found, _ := usual.page("news", 0, nil)
		require.Equal(t, []string{in("news", usual.host)}, found)
		found, cookie := rust.page("news", 0, nil)
		require.Equal(t, []string{in("news", rust.host)}, found)
		found, _ = joinStandard(t, point).page("news", 0, nil)
		require.Equal(t, []string{in("news", usual.host)}, found, "an unknown program reads the usual kind")
		found, _ = joinStandard(t, point, libp2p.UserAgent("rust-libp2p/0.55")).page("", 0, nil)
		require.Equal(t, []string{in("news", rust.host)}, found)
		require.Equal(t, []peer.ID{usual.host.ID()}, discovered(t, usual.host, point, "news"))

		answer := openRaw(t, rust.host, point.ID()).ask(registerRequest("news", rust.record(KindRoutingState), 0))
		require.Equal(t, pb.Message_E_INVALID_PEER_INFO, answer.GetRegisterResponse().GetStatus())

		require.Zero(t, rust.register("weather", KindRoutingState, time.Hour).Status, "the same bytes again")
		rust.mustRegister("news", time.Hour) // the other kind
		found, _ = rust.page("news", 0, cookie)
		require.Len(t, found, 2, "cookies of another kind are none")
	})
}

// TestStandardAnswerFits: an answer has at most 1 MiB, and what it leaves out comes next.
func TestStandardAnswerFits(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		ctx := t.Context()
		standard, err := newStandard(newHost(t), s, noMetrics{})
		require.NoError(t, err)
		require.NoError(t, standard.begin(ctx))
		for _, size := range []int{1, 127, 128, 1000, 8 << 10} {
			require.NoError(t, s.Remove(ctx, "", "peer"))
			want := min(1050, 2<<20/size)
			for i := range want {
				require.NoError(t, s.Add(ctx, Record{
					Namespace: fmt.Sprint(strings.Repeat("n", 128), i), Peer: "peer", Envelope: make([]byte, size), Deadline: time.Now().Add(72 * time.Hour),
				}, Quota{}))
			}
			seen := make(map[string]bool)
			var cookie []byte
			for {
				q := &pageQuery{limit: MaxDiscoverLimit, pay: func() bool { return true }}
				found, next, err := standard.page(ctx, q, cookie, nil)
				require.NoError(t, err)
				out := new(collecting)
				sent, err := wire.Standard.WriteFound(out, make([]byte, 0, largeAnswer), found, next)
				require.NoError(t, err)
				require.Equal(t, len(found), sent, "nothing may be left out after the cookie is made")
				require.LessOrEqual(t, out.bytes.Len(), 1<<20)
				if len(found) == 0 {
					break
				}
				for _, f := range found {
					require.False(t, seen[f.Namespace])
					seen[f.Namespace] = true
				}
				cookie = next
			}
			require.Len(t, seen, want, "of %d bytes", size)
		}
	})
}

// TestHiddenPages: registrations that a caller may not see, or cannot read, do not end its
// search, and cost it.
func TestHiddenPages(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		secret := errors.New("secret")
		point := standardPoint(t, s, WithRateLimit(0.1, 100), WithAuthorizer(func(_ context.Context, r Request) error {
			if strings.HasPrefix(r.Namespace, "secret") {
				return secret
			}
			return nil
		}))
		add := func(ns string, n int) {
			for i := range n {
				require.NoError(t, s.Add(t.Context(), Record{
					Namespace: ns, Peer: peer.ID(fmt.Sprint(i)), Envelope: sealedRecords(t, 1)[0], Deadline: time.Now().Add(time.Hour),
				}, Quota{}))
			}
		}
		add("secret plans", 30)
		add(strings.Repeat("n", 256), 30) // that of the other protocol is too long for this one
		add("news", 3)
		add("secret plans of others", 50)
		add("weather", 2)
		asker := joinStandard(t, point)
		for _, limit := range []int{1, 2, 3, 1000} {
			found, _ := asker.all("", limit, nil)
			require.Len(t, found, 5)
			require.True(t, slices.IsSortedFunc(found, strings.Compare) || strings.HasPrefix(found[0], "news"))
		}
		refused := asker.discover("secret plans", 0, nil)
		require.EqualValues(t, pb.Message_E_NOT_AUTHORIZED, refused.Status)
		require.Empty(t, refused.Cookie)
	})
}

// TestPagesCost: a peer that pages in a loop is charged for requests, for bytes, and for pages
// that are skipped.
func TestPagesCost(t *testing.T) {
	s := pagingStorage(t)
	for i := range 300 {
		require.NoError(t, s.Add(t.Context(), Record{
			Namespace: "hidden", Peer: peer.ID(fmt.Sprint(i)), Envelope: make([]byte, 300), Deadline: time.Now().Add(time.Hour),
		}, Quota{}))
	}
	hide := WithAuthorizer(func(_ context.Context, r Request) error {
		if r.Namespace == "hidden" {
			return errors.New("hidden")
		}
		return nil
	})
	point := standardPoint(t, s, hide, WithRateLimit(0.01, 10))
	asker := joinStandard(t, point)
	found, _ := asker.page("", 10, nil) // pages of 10, 20, 40, 80, 150
	require.Empty(t, found)
	require.Zero(t, asker.discover("", 10, nil).Status)
	require.EqualValues(t, pb.Message_E_UNAVAILABLE, asker.discover("", 10, nil).Status, "skipped pages have cost it")

	point = standardPoint(t, s, WithEgressLimit(100, 100_000))
	asker = joinStandard(t, point)
	require.Len(t, asker.discover("", 200, nil).Registrations, 200)
	require.EqualValues(t, pb.Message_E_UNAVAILABLE, asker.discover("", 200, nil).Status, "answers have cost it")
}

// TestUnregisterFlood: an UNREGISTER costs what any request does. As it has no answer, one
// too many ends the stream.
func TestUnregisterFlood(t *testing.T) {
	point := standardPoint(t, pagingStorage(t), WithRateLimit(0.01, 10))
	p := joinStandard(t, point)
	frame := wire.Standard.AppendRequest(nil, &wire.Request{Kind: wire.Unregister, Unregister: []byte("news")})
	_, err := p.Write(bytes.Repeat(frame, 11))
	require.NoError(t, err)
	_, err = p.next()
	require.Equal(t, network.StreamRateLimited, resetCodeOf(t, err))
}

// TestStandardQuota: registrations of hours take half of a point's places. Beyond that, peers
// are granted 20 seconds, so a peer that refreshes its registration is found at a point that
// others have filled for days.
func TestStandardQuota(t *testing.T) {
	eachPager(t, func(t *testing.T, s Pager) {
		t.Helper()
		point := standardPoint(t, s, WithMaxRegistrations(5))
		p, node := joinStandard(t, point), newHost(t)
		connect(t, node, point)
		p.mustRegister("one", 72*time.Hour)
		p.mustRegister("two", 72*time.Hour)
		for range 2 {
			crowded := p.register("three", KindPeerRecord, 72*time.Hour)
			require.Zero(t, crowded.Status)
			require.EqualValues(t, freshTime/time.Second, crowded.TTL)
			require.Equal(t, 1, live(t, s, "three"))
		}
		p.mustRegister("two", 72*time.Hour)
		for _, ns := range []string{"one", "two"} {
			_, err := NewClient(node).Register(t.Context(), point.ID(), ns, 0)
			require.NoError(t, err)
		}
		require.EqualValues(t, pb.Message_E_UNAVAILABLE, p.register("four", KindPeerRecord, 72*time.Hour).Status)
	})
}

// TestStandardStart: what Start needs for the standard protocol, and that it is off.
func TestStandardStart(t *testing.T) {
	h := newHost(t)
	err := NewRendezvousService(h, plain{pagingStorage(t)}, WithStandardProtocol(0, 0)).Start()
	require.ErrorContains(t, err, "no Pager")
	require.NotContains(t, h.Mux().Protocols(), RendezvousID_v001, "nothing is served")

	broken := failingPager{pagingStorage(t), errors.New("disk on fire")}
	require.ErrorContains(t, NewRendezvousService(h, broken, WithStandardProtocol(0, 0)).Start(), "disk on fire")
	broken.err = fmt.Errorf("dial: %w", ErrUnreachable)
	service := NewRendezvousService(h, broken, WithStandardProtocol(0, 0))
	require.NoError(t, service.Start(), "it may be reached later")
	service.Stop()

	require.ErrorContains(t, NewRendezvousService(h, broken, WithStandardID("/canvas/rendezvous/1.0.0")).Start(), "WithStandardProtocol is missing")
	for _, opt := range []ServiceOption{
		WithStandardID(""), WithStandardID(StandardID), WithStandardID(RendezvousID_v001),
		WithStandardProtocol(time.Hour, time.Minute), WithStandardProtocol(0, 73*time.Hour), WithStandardProtocol(time.Millisecond, 0), WithStandardProtocol(-1, 0),
	} {
		require.Error(t, NewRendezvousService(h, pagingStorage(t), WithStandardProtocol(0, 0), opt).Start())
	}

	startPoint(t, h, pagingStorage(t))
	require.NotContains(t, h.Mux().Protocols(), StandardID, "it is off")
	other := newHost(t)
	other.SetStreamHandler(StandardID, func(network.Stream) {})
	require.ErrorContains(t, NewRendezvousService(other, pagingStorage(t), WithStandardProtocol(0, 0)).Start(), string(StandardID))
}

// waitingPager is a pager that waits in Page until the context ends, and says when it does.
type waitingPager struct {
	Pager
	entered  chan struct{}
	underWay atomic.Int32
}

func (s *waitingPager) Page(ctx context.Context, _ string, _ RecordKind, _ Cursor, _, _ int) ([]Record, Cursor, error) {
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	s.entered <- struct{}{}
	<-ctx.Done()
	return nil, "", ctx.Err()
}

// TestStartWaitsAlone: while a service waits in Start for its storage, other services start, and
// it can be stopped.
func TestStartWaitsAlone(t *testing.T) {
	waiting := &waitingPager{Pager: pagingStorage(t), entered: make(chan struct{}, 1)}
	h := newHost(t)
	service := NewRendezvousService(h, waiting, WithStandardProtocol(0, 0))
	for range 2 {
		outcome := make(chan error, 1)
		go func() { outcome <- service.Start() }()
		<-waiting.entered
		startPoint(t, newHost(t), pagingStorage(t), WithStandardProtocol(0, 0))
		require.EqualValues(t, 1, waiting.underWay.Load(), "the other one still waits")
		require.ErrorContains(t, service.Start(), "already started")
		require.ErrorContains(t, NewRendezvousService(h, pagingStorage(t)).Start(), "the host already serves")

		service.Stop()
		require.Zero(t, waiting.underWay.Load(), "Stop waits for the storage")
		require.ErrorContains(t, <-outcome, "it was stopped")
		require.NotContains(t, h.Mux().Protocols(), RendezvousID_v001)
	}
	startPoint(t, h, pagingStorage(t), WithStandardProtocol(0, 0))
}

// TestStandardFurtherID: the protocol is served under a further ID, until Stop.
func TestStandardFurtherID(t *testing.T) {
	const canvas protocol.ID = "/canvas/rendezvous/1.0.0"
	point, h, reg := newHost(t), newHost(t), prometheus.NewRegistry()
	service := startPoint(t, point, pagingStorage(t), WithStandardProtocol(0, 0), WithStandardID(canvas), WithMetrics(reg))
	connect(t, h, point)
	for _, id := range []protocol.ID{canvas, StandardID} {
		p := openStandard(t, h, point, id)
		p.mustRegister("news", time.Hour)
		p.unregister("news")
		require.NoError(t, p.Close())
	}
	service.Stop()
	require.NotContains(t, point.Mux().Protocols(), canvas)
	require.NotContains(t, point.Mux().Protocols(), StandardID)
	got := gathered(t, reg)
	for name, want := range map[string]float64{
		"requests_total{/rendezvous/1.0.0,ok,register}":        2,
		"requests_total{/rendezvous/1.0.0,ok,unregister}":      2,
		"requests_total{/rendezvous/1.0.0,ok,discover}":        2,
		"requests_total{" + waku + ",ok,register}":             0,
		"request_duration_seconds{/rendezvous/1.0.0,discover}": 2,
		"storage_duration_seconds{remove}":                     2,
		"storage_duration_seconds{page}":                       3,
	} {
		require.Contains(t, got, name)
		require.InDelta(t, want, got[name], 0, name)
	}
	require.InDelta(t, 2, got["streams_total{/rendezvous/1.0.0,ok}"], 0)
}
