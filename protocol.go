package rendezvous

// The protocol itself: its ID, its limits, its frames and its messages. Nothing
// here knows a host or a storage. What it says is written in docs/protocol.md.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-varint"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// RendezvousID_v001 is the protocol's ID, as peers announce it to each other.
const RendezvousID_v001 protocol.ID = "/vac/waku/rendezvous/0.0.1"

// What the wire allows.
const (
	// MaxNamespaceSize is the longest namespace, in bytes.
	MaxNamespaceSize = 256
	// MaxAddrsSize is the most that a record's addresses may take together, in
	// bytes of binary multiaddr.
	MaxAddrsSize = 2048
	// DefaultTTL is how long a registration lives that does not say, unless a point
	// is told otherwise.
	DefaultTTL = 20 * time.Second
	// MaxTTL is the longest a registration may live, unless a point is told otherwise
	// ([WithTTL]). Clients believe no longer one of others' registrations.
	MaxTTL = 20 * time.Second
	// MaxDiscoverLimit is the most registrations that one answer holds.
	MaxDiscoverLimit = 1000
)

const (
	// grace is what a registration lives beyond its TTL, so that a refresh sent
	// in time and delayed on the way still finds it.
	grace = 500 * time.Millisecond

	maxRequestSize  = 16 << 10 // bytes of a request, without its length prefix
	maxEnvelopeSize = 8 << 10  // bytes of a signed peer record
	maxAnswerSize   = 4 << 20  // bytes of an answer, with its length prefix
)

// readFrame reads one length-prefixed message of at most limit bytes into buf. The
// error is io.EOF itself only where the stream ends between two messages.
func readFrame(r *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	size, err := readSize(r, limit)
	if err != nil {
		return nil, err
	}
	return readBody(r, buf, size)
}

// readSize reads the length that comes before a message.
func readSize(r *bufio.Reader, limit int) (int, error) {
	n, err := varint.ReadUvarint(r)
	switch {
	case errors.Is(err, varint.ErrOverflow), errors.Is(err, varint.ErrNotMinimal):
		return 0, fmt.Errorf("%w: unreadable message length: %w", ErrProtocol, err)
	case err != nil:
		return 0, err
	case n > uint64(limit):
		return 0, fmt.Errorf("%w: message of %d bytes, at most %d are allowed", ErrProtocol, n, limit)
	}
	return int(n), nil
}

// readBody reads a message of so many bytes into buf, which it grows as they
// arrive: a length alone takes no memory.
func readBody(r *bufio.Reader, buf []byte, size int) ([]byte, error) {
	const step = 4 << 10

	buf = buf[:0]
	for len(buf) < size {
		have := len(buf)
		next := min(size, max(step, 2*have))
		buf = slices.Grow(buf, next-have)[:next]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

// appendFrame appends m to dst with its length before it.
func appendFrame(dst []byte, m *pb.Message) ([]byte, error) {
	dst = protowire.AppendVarint(dst, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(dst, m)
}

// parseMessage reads a message from the bytes of its frame, and keeps none of them.
func parseMessage(frame []byte) (*pb.Message, error) {
	m := new(pb.Message)
	if err := proto.Unmarshal(frame, m); err != nil {
		return nil, unreadable(err)
	}
	return m, nil
}

func unreadable(err error) error {
	return fmt.Errorf("%w: unreadable message: %w", ErrProtocol, err)
}

// frameSize is what a message of n bytes takes on the wire.
func frameSize(n int) int { return n + varint.UvarintSize(uint64(n)) }

// checkNamespace applies the wire's rules to a namespace that must be there.
func checkNamespace(ns string) error {
	if ns == "" {
		return refuse(pb.Message_E_INVALID_NAMESPACE, "namespace is missing")
	}
	return checkNamespaceSize(ns)
}

// checkNamespaceSize is checkNamespace for where it may be left out, which is to
// ask across all.
func checkNamespaceSize(ns string) error {
	if len(ns) > MaxNamespaceSize {
		return refuse(pb.Message_E_INVALID_NAMESPACE, fmt.Sprintf("namespace is over %d bytes", MaxNamespaceSize))
	}
	if !utf8.ValidString(ns) {
		return refuse(pb.Message_E_INVALID_NAMESPACE, "namespace is not UTF-8")
	}
	return nil
}

// grantTTL is the TTL that a request for so many seconds gets: def when it does
// not say, and never more than most.
func grantTTL(seconds int64, def, most time.Duration) (time.Duration, error) {
	switch {
	case seconds == 0:
		return def, nil
	case seconds < 0:
		return 0, refuse(pb.Message_E_INVALID_TTL, "ttl is negative")
	case seconds > int64(most/time.Second):
		return 0, refuse(pb.Message_E_INVALID_TTL, fmt.Sprintf("ttl is over %d seconds", most/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// grantLimit is how many registrations a request for limit of them gets at most.
func grantLimit(limit int64, most int) int {
	if limit <= 0 || limit > int64(most) {
		return most
	}
	return int(limit)
}

// wireSeconds is d on the wire: whole seconds, rounded up.
func wireSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// remainingSeconds is what an answer says of a registration that has so much left,
// its grace included: at least 1, for it is still alive.
func remainingSeconds(left time.Duration) int64 {
	return max(1, wireSeconds(left-grace))
}

// statedTTL is what to believe of the TTL that a point states: nothing below a
// second and nothing over most.
func statedTTL(seconds int64, most time.Duration) time.Duration {
	if seconds <= 0 || seconds > int64(most/time.Second) {
		return most
	}
	return time.Duration(seconds) * time.Second
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

// refusal is the answer to a request of type t that failed with e.
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
