package rendezvous

// Messages and frames as the generated code reads and writes them. Tests use it so that
// they do not depend on the code under test.

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// frameOf returns the frame of a message.
func frameOf(t testing.TB, m *pb.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	require.NoError(t, err)
	return protowire.AppendBytes(nil, body)
}

// readMessage reads a frame and parses its message.
func readMessage(r *bufio.Reader) (*pb.Message, error) {
	size, err := varint.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m := new(pb.Message)
	return m, proto.Unmarshal(body, m)
}

func registerRequest(ns string, envelope []byte, ttl time.Duration) *pb.Message {
	return &pb.Message{
		Type:     pb.Message_REGISTER,
		Register: &pb.Message_Register{Ns: ns, SignedPeerRecord: envelope, Ttl: wireSeconds(ttl)},
	}
}

func discoverRequest(ns string, limit int) *pb.Message {
	return &pb.Message{
		Type:     pb.Message_DISCOVER,
		Discover: &pb.Message_Discover{Ns: ns, Limit: int64(limit)},
	}
}

// refusal returns the answer that refuses a request of type t with e.
func refusal(t pb.Message_MessageType, e *StatusError) *pb.Message {
	if t == pb.Message_REGISTER {
		return &pb.Message{
			Type:             pb.Message_REGISTER_RESPONSE,
			RegisterResponse: &pb.Message_RegisterResponse{Status: e.Status, StatusText: e.Text},
		}
	}
	return &pb.Message{
		Type:             pb.Message_DISCOVER_RESPONSE,
		DiscoverResponse: &pb.Message_DiscoverResponse{Status: e.Status, StatusText: e.Text},
	}
}
