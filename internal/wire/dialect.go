package wire

import (
	"io"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Dialect is a rendezvous protocol: its ID, its limits, and the numbers that its
// messages have for types and fields. It may be used by many goroutines at the same
// time, and is never changed.
type Dialect struct {
	ID           protocol.ID
	MaxRequest   int // bytes of a request, without its length
	MaxAnswer    int // bytes of an answer's frame, that is, with its length
	MaxNamespace int // bytes

	numbers
}

// ParseRequest parses a request and replaces what r was. It accepts messages of any
// kind, so the caller must check r.Kind. The slices in r are parts of the message, which
// comes without its length. Errors wrap [ErrProtocol].
func (d *Dialect) ParseRequest(r *Request, message []byte) error {
	return r.parse(&d.numbers, message)
}

// AppendRequest appends the frame of a request, which is its length and the message. It
// appends nothing if the protocol has no requests of that kind. Namespaces must be UTF-8.
// Cookies are left out if the protocol has none.
func (d *Dialect) AppendRequest(dst []byte, r *Request) []byte {
	return r.append(dst, &d.numbers)
}

// ParseAnswer parses an answer and replaces what a was, but reuses its slice of
// registrations. It accepts messages of any kind, so the caller must check a.Kind. It
// checks all registrations and returns the first ones, limit at most. The byte slices in
// a are parts of the message, which comes without its length. Errors wrap [ErrProtocol].
func (d *Dialect) ParseAnswer(a *Answer, message []byte, limit int) error {
	return a.parse(&d.numbers, message, limit)
}

// AppendRegistered appends the frame that answers a REGISTER with OK and the TTL that
// was granted, in seconds.
func (d *Dialect) AppendRegistered(dst []byte, ttl int64) []byte {
	return appendRegistered(dst, &d.numbers, ttl)
}

// AppendRefusal appends the frame that refuses a REGISTER or a DISCOVER. It appends
// nothing for other kinds of requests, because those have no answer. It replaces what is
// not UTF-8 in the text.
func (d *Dialect) AppendRefusal(dst []byte, request Kind, status int32, text string) []byte {
	return appendRefusal(dst, &d.numbers, request, status, text)
}

// WriteFound writes the frame that answers a DISCOVER with OK and registrations, and
// returns how many are in it: the last ones are left out if all would make the frame
// larger than MaxAnswer. The cookie is left out if it is empty, or if the protocol has
// none. The frame is written through buf, a buffer at a time; buf should have room for
// the largest registration. One goroutine at a time may use found.
func (d *Dialect) WriteFound(w io.Writer, buf []byte, found []Found, cookie []byte) (sent int, err error) {
	writer := foundWriter{out: w, buf: buf}
	return writer.write(found, cookie, &d.numbers, d.MaxAnswer)
}
