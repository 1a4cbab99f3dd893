package rendezvous

// The messages of which there are most, read and written by hand: requests at a point,
// what it answers them with, and answers to DISCOVER at a client. The generated code
// takes a larger stack than a stream's goroutine has, and to grow that was half of what
// REGISTER again cost beside the echo; and it allocates three times for each
// registration. FuzzParse wants of this what the generated code makes of the same
// bytes. All other messages are in protocol.go.

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// Field numbers, as in pb/rendezvous.proto.
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
	kind     pb.Message_MessageType
	answered bool // whether there is a DiscoverResponse in it
	status   Status
	text     string
	claims   []claim // as many as were asked for at most
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
			d.answered = true
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
