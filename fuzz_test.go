package rendezvous

// Bytes from strangers. Seeds are the frames of testdata/vectors; what fuzzing has
// found is in testdata/fuzz.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// chunked reads data in pieces: of sizes[0] bytes, then sizes[1], and so on around.
type chunked struct {
	data, sizes []byte
	next        int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(c.data))
	if len(c.sizes) > 0 {
		n = min(n, int(c.sizes[c.next%len(c.sizes)])) // 0 is allowed to a Reader
		c.next++
	}
	copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

// modelFrame is readFrame over bytes that are all there: the plainest that can be.
func modelFrame(data []byte, limit int) (body, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, io.EOF
	}
	n, size := binary.Uvarint(data)
	switch {
	case size == 0 && len(data) < 9:
		return nil, nil, io.ErrUnexpectedEOF
	case size <= 0, n > math.MaxInt64, size > 1 && data[size-1] == 0, n > uint64(limit):
		return nil, nil, ErrProtocol
	case n > uint64(len(data)-size):
		return nil, nil, io.ErrUnexpectedEOF
	}
	data = data[size:]
	return data[:n], data[n:], nil
}

// FuzzReadFrame: whatever the bytes and however they arrive, the frames are those
// of the model, and so is the error after the last.
func FuzzReadFrame(f *testing.F) {
	const limit = 1 << 14
	for _, v := range readVectors(f) {
		frame := unhex(f, v.Frame)
		f.Add(frame, []byte{1})
		f.Add(append(frame, frame...), []byte{7, 0, 255})
	}
	f.Add([]byte{}, []byte{})
	f.Add([]byte("\x05abc"), []byte{2})
	f.Add([]byte("\x80\x80\x80\x80\x10"), []byte{})
	f.Add([]byte("\x81\x00a"), []byte{1})
	f.Add(bytes.Repeat([]byte{0xff}, 11), []byte{3})
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		if len(sizes) > 0 && bytes.Count(sizes, []byte{0}) == len(sizes) {
			return // a reader that never gives anything
		}
		in := bufio.NewReaderSize(&chunked{data: data, sizes: sizes}, 16)
		var buf []byte
		for {
			want, rest, wantErr := modelFrame(data, limit)
			got, err := readFrame(in, buf, limit)
			if wantErr != nil {
				require.ErrorIs(t, err, wantErr)
				return
			}
			if errors.Is(err, io.ErrNoProgress) {
				return // bufio's word for a hundred empty reads
			}
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			require.LessOrEqual(t, cap(got), 4*limit)
			data, buf = rest, got
		}
	})
}

// FuzzParse: what the generated code reads is read by hand as the same.
func FuzzParse(f *testing.F) {
	bodies, _ := requestPeers(f)
	for _, body := range bodies {
		f.Add(body)
		f.Add(append(slices.Clone(body), body...)) // which is one message, merged
	}
	for _, m := range []*pb.Message{
		registerRequest("n", []byte("garbage"), time.Minute),
		registerResponse(MaxTTL),
		discoverRequest("n", -1),
		registrations([]byte("garbage"), nil),
		refusal(pb.Message_DISCOVER, refuse(999, "later")),
	} {
		body, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Add([]byte("\x12\x03\x0a\x01\xff"))              // a namespace that is no text
	f.Add([]byte("\x0d\x01\x02\x03\x04\x9a\x06\x01a")) // a type of another type, an unknown field
	f.Add([]byte("\x13\x0a\x01n\x14"))                 // a group
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseMessage(body)
		if err != nil {
			return // ours does not look into what it has no use for
		}
		var r request
		require.NoError(t, r.parse(body))
		require.Equal(t, m.GetType(), r.kind)
		sameClaim(t, m.GetRegister(), r.register)
		require.Equal(t, m.GetDiscover().GetNs(), string(r.discover.namespace))
		require.Equal(t, m.GetDiscover().GetLimit(), r.discover.limit)

		var d discovered
		require.NoError(t, d.parse(body, len(body)))
		want := m.GetDiscoverResponse()
		require.Equal(t, m.GetType(), d.kind)
		require.Equal(t, want != nil, d.answered)
		require.Equal(t, want.GetStatus(), d.status)
		require.Equal(t, want.GetStatusText(), d.text)
		require.Len(t, d.claims, len(want.GetRegistrations()))
		for i, c := range d.claims {
			sameClaim(t, want.GetRegistrations()[i], c)
		}
	})
}

func sameClaim(t *testing.T, want *pb.Message_Register, got claim) {
	t.Helper()
	require.Equal(t, want.GetNs(), string(got.namespace))
	require.Equal(t, string(want.GetSignedPeerRecord()), string(got.envelope))
	require.Equal(t, want.GetTtl(), got.ttl)
}

// registry is all that s holds, by namespace and peer.
func registry(t testing.TB, s Storage) map[string]string {
	t.Helper()
	records, err := s.Sample(t.Context(), "", math.MaxInt32)
	require.NoError(t, err)
	all := make(map[string]string)
	for _, r := range records {
		all[r.Namespace+"\x00"+string(r.Peer)] = string(r.Envelope)
	}
	return all
}

// requestPeers are the peers whose records are in the vectors.
func requestPeers(f *testing.F) (bodies [][]byte, peers []peer.ID) {
	f.Helper()
	for _, v := range readVectors(f) {
		body, _, err := modelFrame(unhex(f, v.Frame), maxAnswerSize)
		require.NoError(f, err)
		bodies = append(bodies, body)
		if id, err := peer.Decode(v.Decoded.PeerID); err == nil {
			peers = append(peers, id)
		}
	}
	return bodies, peers
}

// FuzzRequest: whatever a peer sends, there is a valid answer or an error that ends
// its stream; what is refused changes nothing, and what is accepted one registration
// of its own.
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
		discoverRequest("n", math.MinInt64),
		{Type: pb.Message_REGISTER},
		{Type: pb.Message_DISCOVER},
		{Type: 99},
	} {
		body, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(body, byte(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, who byte) {
		if len(body) > maxRequestSize {
			return
		}
		var r request
		if err := r.parse(body); err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		s := testStorage(t)
		for _, ns := range []string{"n", "news"} {
			require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: peers[0], Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour)}, Quota{}))
		}
		before := registry(t, s)
		term := newTerm(s, defaultServiceConfig())
		defer term.cancel()
		from := peers[int(who)%len(peers)]
		a, err := term.respond(&caller{peer: from, located: true}, &r, nil, time.Now())
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			require.Equal(t, before, registry(t, s))
			return
		}
		checkAnswer(t, r.kind, a)
		after := registry(t, s)
		if r.kind == pb.Message_REGISTER && a.refused == nil {
			before[string(r.register.namespace)+"\x00"+string(from)] = string(r.register.envelope)
			_, rec, err := openRecord(r.register.envelope)
			require.NoError(t, err)
			require.Equal(t, from, rec.PeerID)
			require.Len(t, term.ledger.held, 1)
		} else {
			require.Empty(t, term.ledger.held)
		}
		require.Equal(t, before, after)
	})
}

// checkAnswer checks that an answer is one to such a request, and within the wire's bounds.
func checkAnswer(t testing.TB, kind pb.Message_MessageType, a answer) {
	t.Helper()
	var out bytes.Buffer
	_, err := a.write(&out, nil)
	require.NoError(t, err)
	body, err := readFrame(bufio.NewReader(&out), nil, maxAnswerSize)
	require.NoError(t, err)
	m, err := parseMessage(body)
	require.NoError(t, err)
	r, d := m.GetRegisterResponse(), m.GetDiscoverResponse()
	status, text := r.GetStatus(), r.GetStatusText()
	if kind == pb.Message_DISCOVER {
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

// scripted is a host to whom every point answers the same bytes.
type scripted struct {
	host.Host
	answer []byte
}

func (s *scripted) NewStream(context.Context, peer.ID, ...protocol.ID) (network.Stream, error) {
	return &script{Reader: bytes.NewReader(s.answer)}, nil
}

// script is a stream that takes anything and gives bytes that were chosen before.
type script struct {
	network.Stream
	*bytes.Reader
}

func (s *script) Read(p []byte) (int, error)                 { return s.Reader.Read(p) }
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

// FuzzAnswer: whatever a point answers, a client returns an error or what its
// documentation promises.
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
		frame, err := appendFrame(nil, m)
		require.NoError(f, err)
		f.Add(frame, "n")
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
