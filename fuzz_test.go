package rendezvous

// Fuzz tests of bytes from untrusted peers. Seeds are the frames of testdata/vectors.
// Inputs that fuzzing has found are in testdata/fuzz.

import (
	"bufio"
	"bytes"
	"context"
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// contents returns the envelopes in s by namespace and peer.
func contents(t testing.TB, s Storage) map[string]string {
	t.Helper()
	records, err := s.Sample(t.Context(), "", math.MaxInt32, 0)
	require.NoError(t, err)
	all := make(map[string]string)
	for _, r := range records {
		all[r.Namespace+"\x00"+string(r.Peer)] = string(r.Envelope)
	}
	return all
}

// requestPeers returns the messages in the vectors and the peers that signed their
// records.
func requestPeers(f *testing.F) (bodies [][]byte, peers []peer.ID) {
	f.Helper()
	for _, v := range readVectors(f) {
		body, n := protowire.ConsumeBytes(unhex(f, v.Frame))
		require.Positive(f, n)
		bodies = append(bodies, body)
		if id, err := peer.Decode(v.Decoded.PeerID); err == nil {
			peers = append(peers, id)
		}
	}
	return bodies, peers
}

// FuzzRequest: every request gets a valid answer or an error that ends its stream. A
// refused request changes nothing. An accepted one changes only one registration of its
// sender.
func FuzzRequest(f *testing.F) {
	bodies, peers := requestPeers(f)
	for i, body := range bodies {
		f.Add(body, byte(i))
	}
	for _, m := range []*pb.Message{
		registerRequest("n", []byte("garbage"), 0),
		registerRequest("", nil, 0),
		registerRequest("n", nil, -time.Hour),
		discoverRequest("", 0),
		discoverRequest("n", math.MinInt),
		{Type: pb.Message_REGISTER},
		{Type: pb.Message_DISCOVER},
		{Type: 99},
	} {
		body, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(body, byte(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, who byte) {
		if len(body) > wire.Waku.MaxRequest {
			return
		}
		var r wire.Request
		if err := wire.Waku.ParseRequest(&r, body); err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		s := testStorage(t)
		for _, ns := range []string{"n", "news"} {
			require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: peers[0], Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour)}, Quota{}))
		}
		before := contents(t, s)
		q := newTestRequests(t, s)
		from := peers[int(who)%len(peers)]
		a, err := q.answer(t.Context(), &caller{peer: from, dialect: wire.Waku}, &r, q.lookUp(&caller{peer: from, dialect: wire.Waku}, &r, time.Now()), nil, nil, time.Now())
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			require.Equal(t, before, contents(t, s))
			return
		}
		checkAnswer(t, q, &r, &a)
		if r.Kind == wire.Register && a.refusal == nil {
			before[string(r.Register.Namespace)+"\x00"+string(from)] = string(r.Register.Envelope)
			_, err := peerrecord.Open(r.Register.Envelope, from)
			require.NoError(t, err)
		}
		require.Equal(t, before, contents(t, s))
	})
}

// collecting is a stream that collects what is written to it.
type collecting struct {
	sink
	bytes bytes.Buffer
}

func (c *collecting) Write(p []byte) (int, error) { return c.bytes.Write(p) }

// checkAnswer checks that an answer fits its request and is within the bounds of the wire.
func checkAnswer(t testing.TB, q *requests, request *wire.Request, a *answer) {
	t.Helper()
	s, out := testStream(q, ""), new(collecting)
	s.Stream, s.request = out, *request
	require.NoError(t, s.write(t.Context(), a))
	require.NoError(t, s.flush())
	require.Equal(t, out.bytes.Len(), a.Sent)
	require.LessOrEqual(t, out.bytes.Len(), wire.Waku.MaxAnswer)
	m, err := readMessage(bufio.NewReader(&out.bytes))
	require.NoError(t, err)
	r, d := m.GetRegisterResponse(), m.GetDiscoverResponse()
	status, text := r.GetStatus(), r.GetStatusText()
	if request.Kind == wire.Discover {
		require.Equal(t, pb.Message_DISCOVER_RESPONSE, m.GetType())
		status, text = d.GetStatus(), d.GetStatusText()
	} else {
		require.Equal(t, pb.Message_REGISTER_RESPONSE, m.GetType())
		require.Equal(t, status == pb.Message_OK, r.GetTtl() >= 1 && r.GetTtl() <= 20)
	}
	require.Contains(t, pb.Message_ResponseStatus_name, int32(status))
	require.NotEqual(t, pb.Message_E_INTERNAL_ERROR, status)
	require.Equal(t, status == pb.Message_OK, text == "")
	require.LessOrEqual(t, len(d.GetRegistrations()), MaxDiscoverLimit)
	for _, found := range d.GetRegistrations() {
		require.GreaterOrEqual(t, found.GetTtl(), int64(1))
	}
}

// scripted is a host that gets the same bytes as the answer of every point.
type scripted struct {
	host.Host
	answer []byte
}

func (s *scripted) NewStream(context.Context, peer.ID, ...protocol.ID) (network.Stream, error) {
	return &script{Reader: bytes.NewReader(s.answer)}, nil
}

// scriptConn is the connection of a script.
type scriptConn struct{ network.Conn }

func (scriptConn) Stat() network.ConnStats {
	return network.ConnStats{Stats: network.Stats{Opened: time.Now()}}
}
func (scriptConn) IsClosed() bool                { return false }
func (scriptConn) Close() error                  { return nil }
func (scriptConn) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(addr) }

// script is a stream that accepts all writes and returns given bytes.
type script struct {
	network.Stream
	*bytes.Reader
}

func (s *script) Read(p []byte) (int, error)                 { return s.Reader.Read(p) }
func (*script) Conn() network.Conn                           { return scriptConn{} }
func (*script) Write(p []byte) (int, error)                  { return len(p), nil }
func (*script) Close() error                                 { return nil }
func (*script) CloseWrite() error                            { return nil }
func (*script) CloseRead() error                             { return nil }
func (*script) Reset() error                                 { return nil }
func (*script) ResetWithError(network.StreamErrorCode) error { return nil }
func (*script) SetDeadline(time.Time) error                  { return nil }
func (*script) SetReadDeadline(time.Time) error              { return nil }
func (*script) SetWriteDeadline(time.Time) error             { return nil }
func (*script) Protocol() protocol.ID                        { return RendezvousID_v001 }
func (*script) Scope() network.StreamScope                   { return new(network.NullScope) }

// FuzzAnswer: for every answer of a point, a client returns an error or a result that its
// documentation allows.
func FuzzAnswer(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(unhex(f, v.Frame), v.Decoded.Ns)
	}
	for _, m := range []*pb.Message{
		registerResponse(math.MaxInt64),
		registrations([]byte("garbage"), nil),
		{Type: pb.Message_DISCOVER_RESPONSE},
		{Type: 99},
		refusal(pb.Message_REGISTER, refuse(999, "?")),
		refusal(pb.Message_DISCOVER, refuse(400, "later")),
	} {
		f.Add(frameOf(f, m), "n")
	}
	h := &scripted{Host: newHost(f, libp2p.NoListenAddrs)}
	silent := newHost(f, libp2p.ListenAddrStrings(overTCP)) // has addresses to register
	registering := &scripted{Host: silent}
	point := newHost(f, libp2p.NoListenAddrs).ID()
	f.Fuzz(func(t *testing.T, answer []byte, ns string) {
		h.answer, registering.answer = answer, answer
		const limit = 3
		found, err := NewClient(h).Discover(t.Context(), point, ns, limit)
		if err != nil {
			require.Empty(t, found)
		}
		require.LessOrEqual(t, len(found), limit)
		for _, r := range found {
			require.NoError(t, r.Peer.ID.Validate())
			require.NotEmpty(t, r.Peer.Addrs)
			require.GreaterOrEqual(t, r.TTL, time.Second)
			require.LessOrEqual(t, r.TTL, MaxTTL)
			if ns != "" {
				require.Equal(t, ns, r.Namespace)
			}
		}
		ttl, err := NewClient(registering).Register(t.Context(), point, ns, 5*time.Second)
		if err == nil {
			require.GreaterOrEqual(t, ttl, time.Second)
			require.LessOrEqual(t, ttl, 5*time.Second)
		}
	})
}
