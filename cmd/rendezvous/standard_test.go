package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const canvasID protocol.ID = "/canvas/rendezvous/1.0.0"

// TestStandard: serve also serves the standard protocol, with its TTLs and protocol IDs.
func TestStandard(t *testing.T) {
	const invalidTTL = 102
	for name, c := range map[string]struct {
		args    []string
		id      protocol.ID
		granted map[uint64]uint64 // by the TTL asked for, in seconds; 0: E_INVALID_TTL
	}{
		"by default":    {nil, rendezvous.StandardID, map[uint64]uint64{0: 7200, 1: 1, 259_200: 259_200, 259_201: 0}},
		"TTLs":          {[]string{"--standard-ttl", "1m", "--standard-max-ttl", "2m"}, rendezvous.StandardID, map[uint64]uint64{0: 60, 120: 120, 121: 0}},
		"longest TTL":   {[]string{"--standard-max-ttl", "10m"}, rendezvous.StandardID, map[uint64]uint64{0: 600, 600: 600, 601: 0}},
		"another ID":    {[]string{"--standard-id", string(canvasID)}, canvasID, map[uint64]uint64{0: 7200}},
		"the usual too": {[]string{"--standard-id", string(canvasID)}, rendezvous.StandardID, map[uint64]uint64{0: 7200}},
	} {
		t.Run(name, func(t *testing.T) {
			h, point := connectToPoint(t, startTestPoint(t, c.args...))
			for asked, granted := range c.granted {
				status, ttl, err := registerStandard(t, h, point, c.id, asked)
				require.NoError(t, err)
				if granted == 0 {
					require.Equal(t, uint64(invalidTTL), status, "TTL of %d s", asked)
				} else {
					require.Equal(t, []uint64{0, granted}, []uint64{status, ttl}, "TTL of %d s", asked)
				}
			}
		})
	}
}

// TestWithoutStandard: --standard=false leaves the other protocol.
func TestWithoutStandard(t *testing.T) {
	running := startTestPoint(t, "--standard=false")
	h, point := connectToPoint(t, running)
	_, _, err := registerStandard(t, h, point, rendezvous.StandardID, 0)
	require.ErrorContains(t, err, "protocols not supported")
	_, errs, code := runCommand(t, "ping", "--point", running.addrs[0], "--count", "1")
	require.Equal(t, exitOK, code, errs)

	for _, args := range [][]string{
		{"--standard=false", "--standard-id", string(canvasID)},
		{"--standard-max-ttl", "73h"},
		{"--standard-ttl", "2h", "--standard-max-ttl", "1h"},
		{"--standard-id", string(rendezvous.RendezvousID_v001)},
	} {
		_, errs, code := runCommand(t, append([]string{"serve", "--key", t.TempDir() + "/key", "--listen", "/ip4/127.0.0.1/tcp/0"}, args...)...)
		require.Equal(t, exitUsage, code, "%q: %s", args, errs)
		require.Contains(t, errs, "standard", "%q", args)
	}
}

func connectToPoint(t testing.TB, p *testPoint) (host.Host, peer.ID) {
	t.Helper()
	infos, err := parsePointAddrs(p.addrs[:1])
	require.NoError(t, err)
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	require.NoError(t, h.Connect(t.Context(), infos[0]))
	return h, infos[0].ID
}

// registerStandard sends a REGISTER of the standard protocol, and returns the status and the
// TTL of the answer.
func registerStandard(t testing.TB, h host.Host, point peer.ID, id protocol.ID, ttl uint64) (status, granted uint64, err error) {
	t.Helper()
	s, err := h.NewStream(t.Context(), point, id)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	require.NoError(t, s.SetDeadline(time.Now().Add(20*time.Second)))
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	require.True(t, ok)
	record, err := book.GetPeerRecord(h.ID()).Marshal()
	require.NoError(t, err)

	var register []byte
	register = protowire.AppendString(protowire.AppendTag(register, 1, protowire.BytesType), "news")
	register = protowire.AppendBytes(protowire.AppendTag(register, 2, protowire.BytesType), record)
	register = protowire.AppendVarint(protowire.AppendTag(register, 3, protowire.VarintType), ttl)
	message := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 0) // REGISTER
	message = protowire.AppendBytes(protowire.AppendTag(message, 2, protowire.BytesType), register)
	_, err = s.Write(protowire.AppendBytes(nil, message))
	require.NoError(t, err)

	from := bufio.NewReader(s)
	size, err := binary.ReadUvarint(from)
	require.NoError(t, err)
	answer := make([]byte, size)
	_, err = io.ReadFull(from, answer)
	require.NoError(t, err)
	require.Equal(t, uint64(1), protobufField(t, answer, 1).number) // REGISTER_RESPONSE
	response := protobufField(t, answer, 3).bytes
	status = protobufField(t, response, 1).number
	if status == 0 {
		granted = protobufField(t, response, 3).number
	}
	return status, granted, nil
}

// protobufValue is the value of a field of a protobuf message.
type protobufValue struct {
	number uint64
	bytes  []byte
}

// protobufField returns a field, which must be there.
func protobufField(t testing.TB, message []byte, want protowire.Number) (v protobufValue) {
	t.Helper()
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		require.Positive(t, n)
		message = message[n:]
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
		default:
			require.Fail(t, "unexpected type of a field", kind)
		}
		require.Positive(t, n)
		message = message[n:]
		if field == want {
			return v
		}
	}
	require.Fail(t, "the answer lacks a field", "%d", want)
	return v
}
