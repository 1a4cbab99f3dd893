package rendezvous

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/points"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// hostilePoint serves the protocol on h and answers each request with a given handler.
func hostilePoint(h host.Host, answer func(st network.Stream, request *pb.Message)) {
	h.SetStreamHandler(RendezvousID_v001, func(st network.Stream) {
		defer st.Close()
		if request, err := readMessage(bufio.NewReader(st)); err == nil {
			answer(st, request)
		}
	})
}

// sending is an answer of one message.
func sending(t testing.TB, m *pb.Message) func(network.Stream, *pb.Message) {
	t.Helper()
	return sendingBytes(frameOf(t, m))
}

func sendingBytes(b []byte) func(network.Stream, *pb.Message) {
	return func(st network.Stream, _ *pb.Message) { _, _ = st.Write(b) }
}

// registerResponse is a REGISTER answer that grants the given TTL.
func registerResponse(ttl time.Duration) *pb.Message {
	return &pb.Message{
		Type:             pb.Message_REGISTER_RESPONSE,
		RegisterResponse: &pb.Message_RegisterResponse{Ttl: wireSeconds(ttl)},
	}
}

// registrations is a DISCOVER answer of these envelopes in namespace "n".
func registrations(envelopes ...[]byte) *pb.Message {
	d := new(pb.Message_DiscoverResponse)
	for _, e := range envelopes {
		d.Registrations = append(d.Registrations, &pb.Message_Register{Ns: "n", SignedPeerRecord: e, Ttl: 20})
	}
	return &pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: d}
}

// TestDiscoverBelievesNothing: the client accepts only records that the peers themselves
// have signed, and writes nothing into the peerstore.
func TestDiscoverBelievesNothing(t *testing.T) {
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	key, victim := newKey(t, crypto.Ed25519)
	otherKey, other := newKey(t, crypto.Ed25519)
	goodKey, good := newKey(t, crypto.Ed25519)
	forged := seal(t, key, victim, addr)
	forged[len(forged)-1] ^= 1
	rec := peer.NewPeerRecord()
	rec.PeerID = victim

	answer := registrations(
		forged,
		seal(t, otherKey, victim, "/ip4/203.0.113.66/tcp/66"), // the victim's record signed with another key
		sealRecord(t, key, otherDomain{rec}),
		sealRecord(t, key, otherType{rec}),
		seal(t, otherKey, other), // no addresses
		[]byte("garbage"),
		nil,
		seal(t, goodKey, good, addr),
		seal(t, goodKey, good, addr), // twice
	)
	elsewhere := seal(t, otherKey, other, addr)
	answer.DiscoverResponse.Registrations = append(answer.DiscoverResponse.Registrations,
		&pb.Message_Register{Ns: "another namespace", SignedPeerRecord: elsewhere, Ttl: 20})
	hostilePoint(point, sending(t, answer))

	found, err := NewClient(h).Discover(t.Context(), point.ID(), "n", 0)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, good, found[0].Peer.ID)
	require.Empty(t, h.Peerstore().Addrs(good), "nothing is written into the peerstore")
	require.Empty(t, h.Peerstore().Addrs(victim))
	require.Empty(t, h.Peerstore().Addrs(other))
}

// brokenRecords returns n records with invalid signatures. Checking one takes a good part
// of a millisecond.
func brokenRecords(t testing.TB, n int) [][]byte {
	t.Helper()
	key := p521(t)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	const port = 1000
	signed := seal(t, key, id, fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", port))
	at := bytes.Index(signed, binary.BigEndian.AppendUint16(nil, port))
	require.GreaterOrEqual(t, at, 0)
	var all [][]byte
	for i := range n {
		e := bytes.Clone(signed)
		binary.BigEndian.PutUint16(e[at:], uint16(port+1+i))
		all = append(all, e)
	}
	return all
}

// hold puts records into a storage, whether or not they are valid.
func hold(t testing.TB, s Storage, ns string, envelopes ...[]byte) {
	t.Helper()
	for i, e := range envelopes {
		require.NoError(t, s.Add(t.Context(), Record{
			Namespace: ns, Peer: peer.ID(fmt.Sprint(i)), Envelope: e, Deadline: time.Now().Add(time.Hour),
		}, Quota{}))
	}
}

// endedRequests has the requests that a client has made.
type endedRequests struct {
	mu  sync.Mutex
	all []RequestEnded
}

func (r *endedRequests) RequestEnded(e RequestEnded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

// take returns the requests since the last call.
func (r *endedRequests) take() []RequestEnded {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// first returns the first request.
func (r *endedRequests) first(t testing.TB) RequestEnded {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.all)
	return r.all[0]
}

// TestManyBrokenRecords: an answer with 8 broken records violates the protocol. The client
// skips the rest of it and does not ask the point for a while.
func TestManyBrokenRecords(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 2)
			point, h := hosts[0], hosts[1]
			connect(t, h, point)
			storage, served := testStorage(t), new(servedRequests)
			startPoint(t, point, storage, append(p.serve, WithMetricsTracer(served))...)
			hold(t, storage, "n", brokenRecords(t, 1000)...)
			ended := new(endedRequests)
			c := NewClient(h, WithPoints(info(point)), p.speak, WithClientMetricsTracer(ended))
			for range 2 { // the second search finds the point in backoff
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				found, err := c.FindPeers(ctx, "n")
				require.NoError(t, err)
				for range found {
					require.Fail(t, "found an unexpected peer")
				}
				require.Error(t, ctx.Err(), "the search goes on until then")
				cancel()
			}
			require.EqualValues(t, 1, served.discovers.Load())
			require.ErrorIs(t, ended.first(t).Err, ErrProtocol)
			require.Equal(t, 8, ended.first(t).Invalid, "the other records are not checked")

			key, good := newKey(t, crypto.Ed25519)
			hold(t, storage, "m", append(brokenRecords(t, 7), seal(t, key, good, addr))...)
			found, err := c.Discover(t.Context(), point.ID(), "m", 0)
			require.NoError(t, err)
			require.Len(t, found, 1, "up to 7 broken records are skipped")
		})
	})
}

// TestContextEndsAmongRecords: a context that ends while an answer is read ends the reading. The
// point is not to blame for it.
func TestContextEndsAmongRecords(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hosts := simHosts(t, 2)
			point, h := hosts[0], hosts[1]
			connect(t, h, point)
			storage := testStorage(t)
			startPoint(t, point, storage, p.serve...)
			hold(t, storage, "n", brokenRecords(t, 1000)...)
			ended := new(endedRequests)
			c := NewClient(h, WithPoints(info(point)), p.speak, WithClientMetricsTracer(ended))
			checks, takes := 0, 60*time.Millisecond
			c.asker.records.Pay = func(peer.ID, crypto.PubKey, int) error {
				checks++
				time.Sleep(takes) // in virtual time, the check itself takes none
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			begun := time.Now()
			_, err := c.Discover(ctx, point.ID(), "n", 0)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.LessOrEqual(t, time.Since(begun), 260*time.Millisecond)
			require.Less(t, checks, 4)
			require.Positive(t, checks)
			require.Equal(t, checks, ended.first(t).Invalid)

			takes, begun = 0, time.Now()
			_, err = c.Discover(t.Context(), point.ID(), "n", 0)
			require.ErrorIs(t, err, ErrProtocol)
			require.Less(t, time.Since(begun), points.MinBackoff/2, "the point is not in backoff")
		})
	})
}

// TestDearSignatures: a point sends ever new records with a key whose signatures take long to
// check. The client checks only some in a second, and those of other points as ever.
func TestDearSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClient(simHosts(t, 1)[0])
		key := p521(t)
		id, err := peer.IDFromPrivateKey(key)
		require.NoError(t, err)
		var dear [][]byte
		for i := range checksAtOnce/50 + 5 {
			dear = append(dear, seal(t, key, id, fmt.Sprint("/ip4/192.0.2.1/tcp/", 1+i)))
		}
		accept := func(point peer.ID, envelopes [][]byte) RequestEnded {
			var answer []wire.Registration
			for _, e := range envelopes {
				answer = append(answer, wire.Registration{Namespace: []byte("n"), Envelope: e})
			}
			ended := RequestEnded{Point: point}
			_, err := c.asker.accept(t.Context(), wire.Waku, point, "n", answer, &ended)
			require.NoError(t, err)
			return ended
		}
		ended := accept("hostile", dear)
		require.Equal(t, checksAtOnce/50, ended.Checked)
		require.Equal(t, 5, ended.Invalid)
		require.Equal(t, 100, accept("honest", sealedRecords(t, 100)).Checked)
		time.Sleep(time.Second)
		ended = accept("hostile", dear)
		require.Equal(t, checksAtOnce/50, ended.Cached, "what was checked costs nothing")
		require.Equal(t, 5, ended.Checked)
	})
}

// TestAcceptEndsWithItsContext: no signature is checked after the caller has given up.
func TestAcceptEndsWithItsContext(t *testing.T) {
	c := NewClient(newHost(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := new(RequestEnded)
	_, err := c.asker.accept(ctx, wire.Waku, "a point", "n", []wire.Registration{{Namespace: []byte("n"), Envelope: brokenRecords(t, 1)[0]}}, ended)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, ended.Invalid)
}

// TestDiscoverClampsWhatPointsState: the client bounds the TTLs and the number of
// registrations in an answer.
func TestDiscoverClampsWhatPointsState(t *testing.T) {
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	for _, stated := range []int64{0, -1, math.MinInt64, 21, math.MaxInt64, 3} {
		key, id := newKey(t, crypto.Ed25519)
		answer := registrations(seal(t, key, id, addr))
		answer.DiscoverResponse.Registrations[0].Ttl = stated
		hostilePoint(point, sending(t, answer))
		found, err := NewClient(h).Discover(t.Context(), point.ID(), "n", 0)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.GreaterOrEqual(t, found[0].TTL, time.Second)
		require.LessOrEqual(t, found[0].TTL, MaxTTL)

		hostilePoint(point, sending(t, &pb.Message{
			Type:             pb.Message_REGISTER_RESPONSE,
			RegisterResponse: &pb.Message_RegisterResponse{Ttl: stated},
		}))
		granted, err := NewClient(h).Register(t.Context(), point.ID(), "n", 10*time.Second)
		require.NoError(t, err)
		require.GreaterOrEqual(t, granted, time.Second)
		require.LessOrEqual(t, granted, 10*time.Second, "at most the requested TTL")
	}
	var envelopes [][]byte
	for range 3 {
		key, id := newKey(t, crypto.Ed25519)
		envelopes = append(envelopes, seal(t, key, id, addr))
	}
	hostilePoint(point, sending(t, registrations(envelopes...)))
	found, err := NewClient(h).Discover(t.Context(), point.ID(), "n", 2)
	require.NoError(t, err)
	require.Len(t, found, 2, "at most the requested number")
}

// TestMisbehavingPoints: every wrong answer leads to an error that describes it.
func TestMisbehavingPoints(t *testing.T) {
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	tests := []struct {
		name   string
		answer func(network.Stream, *pb.Message)
		want   error
	}{
		{"hangs up", func(network.Stream, *pb.Message) {}, nil},
		{"resets", func(st network.Stream, _ *pb.Message) { _ = st.Reset() }, network.ErrReset},
		{"half an answer", sendingBytes([]byte("\x80\x02abc")), nil},
		{"garbage", sendingBytes([]byte("\x04\xff\xff\xff\xff")), ErrProtocol},
		{"announces 4 GiB", sendingBytes([]byte("\x80\x80\x80\x80\x10")), ErrProtocol},
		{"nothing but a type", sending(t, &pb.Message{Type: pb.Message_REGISTER_RESPONSE}), ErrProtocol},
		{"another type", sending(t, registerRequest("n", nil, 0)), ErrProtocol},
		{"a status of its own", sending(t, refusal(pb.Message_REGISTER, refuse(999, strings.Repeat("x", 1<<20)))), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hostilePoint(point, test.answer)
			_, err := NewClient(h).Register(t.Context(), point.ID(), "n", 0)
			require.Error(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			require.ErrorContains(t, err, point.ID().String(), "whom")
			require.ErrorContains(t, err, `register in "n"`, "what")
			require.Less(t, len(err.Error()), 1<<10)
			_, err = NewClient(h).Discover(t.Context(), point.ID(), "n", 0)
			require.Error(t, err)
		})
	}
}

// TestAnswersAreBounded: the limit of a request bounds the size of its answer. A point
// cannot make its clients read 4 MiB for a handful of peers.
func TestAnswersAreBounded(t *testing.T) {
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	hostilePoint(point, sending(t, registrations(slices.Repeat([][]byte{make([]byte, peerrecord.MaxSize)}, 400)...)))
	_, err := NewClient(h).Discover(t.Context(), point.ID(), "n", 10)
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorContains(t, err, "at most", "it is not read")
	_, err = NewClient(h).Discover(t.Context(), point.ID(), "n", 400)
	require.ErrorContains(t, err, "8 invalid records", "it is read")
}

// TestSilentPoint: contexts and deadlines bound a request to a point that accepts the
// request and never answers.
func TestSilentPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point, h := hosts[0], hosts[1]
		connect(t, h, point)
		over := make(chan struct{})
		defer close(over)
		hostilePoint(point, func(network.Stream, *pb.Message) { <-over })
		c := NewClient(h)

		begun := time.Now()
		_, err := c.Discover(t.Context(), point.ID(), "n", 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(begun), "a request to a point is bounded")

		begun = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Register(ctx, point.ID(), "n", 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))

		begun = time.Now()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		_, err = c.Register(ctx, point.ID(), "n", 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 300*time.Millisecond, time.Since(begun))
	})
}

// TestClientRefusesNonsense: the client does not send requests that every point would
// refuse.
func TestClientRefusesNonsense(t *testing.T) {
	h := newHost(t)
	nowhere := newHost(t).ID()
	c := NewClient(h)
	_, err := c.Register(t.Context(), nowhere, "", 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = c.Register(t.Context(), nowhere, strings.Repeat("n", 257), 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = c.Register(t.Context(), nowhere, "\xff", 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = c.Register(t.Context(), nowhere, "n", -1)
	require.ErrorIs(t, err, ErrInvalidTTL)
	_, err = c.Discover(t.Context(), nowhere, strings.Repeat("n", 257), 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = c.Discover(t.Context(), nowhere, "n", 0)
	require.ErrorContains(t, err, nowhere.String())

	for _, wrong := range []*Client{
		NewClient(nil),
		NewClient(h, WithRedundancy(0)),
		NewClient(h, WithPoints(peer.AddrInfo{})),
	} {
		_, err := wrong.Register(t.Context(), nowhere, "n", 0)
		require.ErrorContains(t, err, "rendezvous client")
	}
}

// TestPointDownSaysWhy: the error has the reason why dialling failed, even if the host is
// in its dial backoff.
func TestPointDownSaysWhy(t *testing.T) {
	h, gone := newHost(t), newHost(t)
	c := NewClient(h, WithPoints(peer.AddrInfo{ID: gone.ID(), Addrs: gone.Addrs()}))
	require.NoError(t, gone.Close())
	for range 3 {
		_, err := c.Discover(t.Context(), gone.ID(), "n", 0)
		require.ErrorContains(t, err, "refused")
	}
}
