package rendezvous

// The protocol itself: its ID, its limits, its frames and its messages. Nothing
// here knows a host or a storage. What it says is written in docs/protocol.md.

import (
	"bufio"
	"encoding/binary"
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
	// DefaultTTL is how long a registration lives that does not say.
	DefaultTTL = 20 * time.Second
	// MaxTTL is the longest a registration may live.
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

// What every request and every answer with registrations in it is, is read and written
// by hand: the generated code takes a larger stack than a stream's goroutine has, and
// to grow that is half of what REGISTER again costs beside the echo; and it allocates
// three times for each registration. FuzzParse compares the two.

// Field numbers of what is read and written by hand.
const (
	fieldType             = 1 // Message
	fieldRegister         = 2
	fieldRegisterResponse = 3
	fieldDiscover         = 4
	fieldDiscoverResponse = 5
	fieldRegistrations    = 1 // DiscoverResponse
	fieldStatus           = 3
	fieldStatusText       = 4
	fieldNs               = 1 // Register, and Discover
	fieldSignedPeerRecord = 2 // Register
	fieldTTL              = 3 // Register, and RegisterResponse
	fieldLimit            = 2 // Discover
)

// request is a REGISTER or a DISCOVER, or what came in a request's place.
type request struct {
	kind     pb.Message_MessageType
	register claim
	discover query
}

// claim is a Register message, as parts of the frame that it came in. Nothing of it
// has been verified.
type claim struct {
	namespace, envelope []byte
	ttl                 int64
}

// query is a Discover message, likewise.
type query struct {
	namespace []byte
	limit     int64
}

// parse reads a request from the bytes of its frame, in place of what r was.
func (r *request) parse(frame []byte) (err error) {
	*r = request{}
	for len(frame) > 0 && err == nil {
		var f field
		f, frame, err = nextField(frame)
		switch {
		case f.is(fieldType, protowire.VarintType):
			r.kind = pb.Message_MessageType(int32(f.number))
		case f.is(fieldRegister, protowire.BytesType):
			err = r.register.parse(f.bytes)
		case f.is(fieldDiscover, protowire.BytesType):
			err = r.discover.parse(f.bytes)
		}
	}
	return err
}

func (c *claim) parse(b []byte) (err error) {
	for len(b) > 0 && err == nil {
		var f field
		f, b, err = nextField(b)
		switch {
		case f.is(fieldNs, protowire.BytesType):
			c.namespace, err = f.utf8()
		case f.is(fieldSignedPeerRecord, protowire.BytesType):
			c.envelope = f.bytes
		case f.is(fieldTTL, protowire.VarintType):
			c.ttl = int64(f.number)
		}
	}
	return err
}

func (q *query) parse(b []byte) (err error) {
	for len(b) > 0 && err == nil {
		var f field
		f, b, err = nextField(b)
		switch {
		case f.is(fieldNs, protowire.BytesType):
			q.namespace, err = f.utf8()
		case f.is(fieldLimit, protowire.VarintType):
			q.limit = int64(f.number)
		}
	}
	return err
}

// discovered is an answer to DISCOVER as it was read.
type discovered struct {
	kind   pb.Message_MessageType
	is     bool // whether there is a DiscoverResponse in it
	status Status
	text   string
	claims []claim // as many as were asked for at most
}

// parse reads an answer from the bytes of its frame, in place of what d held, and no
// more than limit registrations of it.
func (d *discovered) parse(frame []byte, limit int) (err error) {
	*d = discovered{claims: d.claims[:0]}
	for len(frame) > 0 && err == nil {
		var f field
		f, frame, err = nextField(frame)
		switch {
		case f.is(fieldType, protowire.VarintType):
			d.kind = pb.Message_MessageType(int32(f.number))
		case f.is(fieldDiscoverResponse, protowire.BytesType):
			d.is = true
			err = d.parseResponse(f.bytes, limit)
		}
	}
	return err
}

func (d *discovered) parseResponse(b []byte, limit int) (err error) {
	for len(b) > 0 && err == nil {
		var f field
		f, b, err = nextField(b)
		switch {
		case f.is(fieldRegistrations, protowire.BytesType):
			var c claim
			if err = c.parse(f.bytes); err == nil && len(d.claims) < limit {
				d.claims = append(d.claims, c)
			}
		case f.is(fieldStatus, protowire.VarintType):
			d.status = Status(int32(f.number))
		case f.is(fieldStatusText, protowire.BytesType):
			var text []byte
			text, err = f.utf8()
			d.text = string(text)
		}
	}
	return err
}

// field is a protobuf field, with what is in it if that is a varint or bytes.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	number uint64
	bytes  []byte // part of what was read
}

func (f *field) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

// utf8 returns the field's bytes, which must be a text.
func (f *field) utf8() ([]byte, error) {
	if !utf8.Valid(f.bytes) {
		return nil, unreadable(errNotUTF8)
	}
	return f.bytes, nil
}

var errNotUTF8 = errors.New("a text is not UTF-8")

// nextField takes a field off the front of a message. With an error, it is of no type.
func nextField(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, unreadable(protowire.ParseError(n))
	}
	b = b[n:]
	f.num, f.typ = num, typ
	switch typ {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return field{}, nil, unreadable(protowire.ParseError(n))
	}
	return f, b[n:], nil
}

// appendRegistered appends the frame that answers a REGISTER with the TTL it was granted.
func appendRegistered(dst []byte, ttl time.Duration) []byte {
	seconds := uint64(wireSeconds(ttl))
	body := 1 + protowire.SizeVarint(seconds)
	dst = protowire.AppendVarint(dst, uint64(2+1+protowire.SizeBytes(body)))
	dst = protowire.AppendTag(dst, fieldType, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(pb.Message_REGISTER_RESPONSE))
	dst = protowire.AppendTag(dst, fieldRegisterResponse, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(body))
	dst = protowire.AppendTag(dst, fieldTTL, protowire.VarintType)
	return protowire.AppendVarint(dst, seconds)
}

// listing is what an answer to DISCOVER says of one registration.
type listing struct {
	namespace string
	envelope  []byte        // never written to
	left      time.Duration // until its deadline
	// Once measured: the TTL in its Register message, and the bytes of that.
	ttl, size int32
}

// measure sees how l is as a Register message.
func (l *listing) measure() {
	l.ttl = int32(remainingSeconds(l.left))
	l.size = int32(1 + protowire.SizeBytes(len(l.namespace)) +
		1 + protowire.SizeBytes(len(l.envelope)) +
		1 + protowire.SizeVarint(uint64(l.ttl)))
}

// writeDiscoverResponse writes the frame that answers a DISCOVER with what was found,
// leaving out the last where all would not fit into [maxAnswerSize]. It
// writes the bytes by hand because every envelope is encoded already, and through
// buf, a buffer at a time: an answer of any size takes no more memory than that,
// however slowly it is read.
func writeDiscoverResponse(w io.Writer, buf []byte, found []listing) (sent int, err error) {
	found, body := fitListings(found)
	buf = buf[:0]
	buf = protowire.AppendVarint(buf, uint64(2+1+protowire.SizeBytes(body)))
	buf = protowire.AppendTag(buf, fieldType, protowire.VarintType)
	buf = protowire.AppendVarint(buf, uint64(pb.Message_DISCOVER_RESPONSE))
	buf = protowire.AppendTag(buf, fieldDiscoverResponse, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(body))
	for some := range slices.Chunk(found, fetchAtOnce) {
		fetch(some)
		for i := range some {
			l := &some[i]
			if len(buf)+maxListingHeader+int(l.size) > cap(buf) {
				if _, err := w.Write(buf); err != nil {
					return 0, err
				}
				buf = buf[:0]
			}
			buf = appendListing(buf, l)
		}
	}
	_, err = w.Write(buf)
	return len(found), err
}

// maxListingHeader is what comes before a Register message in an answer, in bytes.
const maxListingHeader = 1 + binary.MaxVarintLen32

func appendListing(buf []byte, l *listing) []byte {
	buf = append(buf, fieldRegistrations<<3|byte(protowire.BytesType))
	buf = binary.AppendUvarint(buf, uint64(l.size))
	buf = append(buf, fieldNs<<3|byte(protowire.BytesType))
	buf = binary.AppendUvarint(buf, uint64(len(l.namespace)))
	buf = append(buf, l.namespace...)
	buf = append(buf, fieldSignedPeerRecord<<3|byte(protowire.BytesType))
	buf = binary.AppendUvarint(buf, uint64(len(l.envelope)))
	buf = append(buf, l.envelope...)
	buf = append(buf, fieldTTL<<3|byte(protowire.VarintType))
	return binary.AppendUvarint(buf, uint64(l.ttl))
}

// fetchAtOnce is for how many envelopes the processor has room to wait.
const fetchAtOnce = 32

// fetch reads a byte in each cache line of some envelopes, which are all over the
// memory. Here the processor waits for many of them at the same time; where they
// are copied, it would wait for one after the other. That halves what DISCOVER 50
// and 1000 of 100,000 cost beyond the echo.
//
//go:noinline
func fetch(found []listing) (all byte) {
	const line = 64
	for i := range found {
		e := found[i].envelope
		for at := 0; at < len(e); at += line {
			all ^= e[at]
		}
	}
	return all
}

// fitListings measures those found and returns as many of them, from the front, as
// fit into one answer, and how many bytes they take in its body.
func fitListings(found []listing) (fit []listing, body int) {
	const overhead = 4 + 2 + 1 + 4 // the frame's length; type; the body's tag and length

	for i := range found {
		found[i].measure()
		entry := 1 + protowire.SizeBytes(int(found[i].size))
		if body+entry > maxAnswerSize-overhead {
			return found[:i], body
		}
		body += entry
	}
	return found, body
}
