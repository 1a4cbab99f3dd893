// Package dbformat defines how a registration is written to an ordered key-value
// database, so that it survives the process.
//
// There is one entry for each registration:
//
//	key     Prefix · uvarint(length of namespace) · namespace · peer ID
//	value   deadline · lifetime · freshness · order · sequence · kind · origin · envelope · checksum
//
// The deadline is on the wall clock, in nanoseconds since 1970. The lifetime is what was
// left until then when the entry was written, and the freshness what was left until the
// end of the freshness, in nanoseconds. The order is the identity of the order in which
// the registration has a place, and the sequence is that place; both are zero if no order
// was kept. All of these take 8 bytes. The kind of the envelope takes 1 byte. The origin
// is the IPv6 address that the registration counts for, in 16 bytes; an IPv4 address is
// mapped to IPv6, and zeros are no address. The checksum is the CRC-32C of the key and of
// the value up to here, in 4 bytes. Numbers are big-endian.
//
// One more entry has the order:
//
//	key     OrderKey
//	value   identity · reserved · checksum
//
// Identity and the highest sequence that may have been used take 8 bytes each. A sequence
// is reserved before it is used, many at a time, so that none is used again after a crash.
//
// The length of the namespace makes keys unambiguous: a namespace that is a prefix of
// another has other keys. The checksum finds an entry that the database damaged, and
// the lifetime bounds what a wall clock that was set back can add to a registration.
package dbformat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Prefix begins the key of every registration. It contains the version of the format.
// OldPrefix is that of the version without an order, whose entries are not read. OrderKey
// is the key of the order.
const (
	Prefix    = "go-waku-rendezvous/3/r"
	OldPrefix = "go-waku-rendezvous/2/r"
	OrderKey  = "go-waku-rendezvous/3/o"
)

// maxSequence bounds the places in an order, so that the next ones do not overflow.
const maxSequence = 1 << 62

// Sizes of the parts of a value, and where they begin, in bytes.
const (
	lifetimeAt   = 8 // after the deadline
	freshAt      = lifetimeAt + 8
	orderAt      = freshAt + 8
	sequenceAt   = orderAt + 8
	kindAt       = sequenceAt + 8
	originAt     = kindAt + 1
	headerSize   = originAt + 16
	checksumSize = crc32.Size
)

var (
	errKey   = errors.New("key is not that of a registration")
	errValue = errors.New("value of a registration is damaged")
	errOrder = errors.New("value of the order is damaged")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Registration is what an entry says. Times are by the clock of whoever writes or reads it,
// and may have passed.
type Registration struct {
	Namespace string
	Peer      peer.ID
	Envelope  []byte // part of the value that was parsed
	Deadline  time.Time
	Fresh     time.Time // end of the freshness, at most the deadline
	Kind      uint8     // of the envelope
	Origin    netip.Addr
	// Sequence is the place of the registration in an order, whose identity is Order. Both
	// are 0 if no order was kept.
	Order, Sequence uint64
}

// Order is what the entry of the order says.
type Order struct {
	Identity uint64
	Reserved uint64 // highest sequence that may have been used
}

// Key returns the key of the registration of p in a namespace.
func Key(namespace string, p peer.ID) []byte {
	key := make([]byte, 0, len(Prefix)+binary.MaxVarintLen64+len(namespace)+len(p))
	key = append(key, Prefix...)
	key = binary.AppendUvarint(key, uint64(len(namespace)))
	key = append(key, namespace...)
	return append(key, p...)
}

// Value returns the value of a registration that is written at now. The key is that of
// [Key]. A deadline before now is written as now. A deadline after the year 2262 does
// not fit, and is written as the latest that does.
func Value(key []byte, r *Registration, now time.Time) []byte {
	left := max(r.Deadline.Sub(now), 0)
	fresh := min(max(r.Fresh.Sub(now), 0), left)
	value := make([]byte, 0, headerSize+len(r.Envelope)+checksumSize)
	value = binary.BigEndian.AppendUint64(value, uint64(wallDeadline(now, left)))
	value = binary.BigEndian.AppendUint64(value, uint64(left))
	value = binary.BigEndian.AppendUint64(value, uint64(fresh))
	value = binary.BigEndian.AppendUint64(value, r.Order)
	value = binary.BigEndian.AppendUint64(value, r.Sequence)
	value = append(value, r.Kind)
	value = appendOrigin(value, r.Origin)
	value = append(value, r.Envelope...)
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

// OrderValue returns the value of the order.
func OrderValue(o Order) []byte {
	value := binary.BigEndian.AppendUint64(nil, o.Identity)
	value = binary.BigEndian.AppendUint64(value, o.Reserved)
	return binary.BigEndian.AppendUint32(value, checksum([]byte(OrderKey), value))
}

// ParseOrder reads the value of the order. It returns an error if it was not made by
// [OrderValue], or is damaged.
func ParseOrder(value []byte) (Order, error) {
	const body = 8 + 8
	if len(value) != body+checksumSize || binary.BigEndian.Uint32(value[body:]) != checksum([]byte(OrderKey), value[:body]) {
		return Order{}, errOrder
	}
	o := Order{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}
	if o.Reserved > maxSequence {
		return Order{}, errOrder
	}
	return o, nil
}

func appendOrigin(value []byte, origin netip.Addr) []byte {
	if !origin.IsValid() {
		origin = netip.IPv6Unspecified()
	}
	b := origin.As16()
	return append(value, b[:]...)
}

func parseOrigin(b [16]byte) netip.Addr {
	if a := netip.AddrFrom16(b); !a.IsUnspecified() {
		return a.Unmap()
	}
	return netip.Addr{}
}

// wallDeadline returns when left will have passed on the wall clock, in nanoseconds
// since 1970.
func wallDeadline(now time.Time, left time.Duration) int64 {
	wall := now.UnixNano()
	if int64(left) > math.MaxInt64-max(wall, 0) {
		return math.MaxInt64
	}
	return wall + int64(left)
}

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// Parse reads an entry. It returns an error if the entry was not made by [Key] and
// [Value], or is damaged.
//
// The deadline is counted from now, and is never further away than the lifetime in the
// entry, whatever happened to the wall clock since.
func Parse(key, value []byte, now time.Time) (Registration, error) {
	namespace, p, ok := parseKey(key)
	if !ok {
		return Registration{}, errKey
	}
	body := len(value) - checksumSize
	if body < headerSize || binary.BigEndian.Uint32(value[body:]) != checksum(key, value[:body]) {
		return Registration{}, errValue
	}
	number := func(at int) uint64 { return binary.BigEndian.Uint64(value[at:]) }
	wall, lifetime := time.Unix(0, int64(number(0))), time.Duration(number(lifetimeAt))
	deadline := now.Add(min(wall.Sub(now), lifetime))
	fresh := min(max(time.Duration(number(freshAt)), 0), max(lifetime, 0))
	if number(sequenceAt) > maxSequence {
		return Registration{}, errValue
	}
	return Registration{
		Namespace: namespace,
		Peer:      p,
		Envelope:  value[headerSize:body],
		Deadline:  deadline,
		Fresh:     deadline.Add(fresh - max(lifetime, 0)),
		Kind:      value[kindAt],
		Origin:    parseOrigin([16]byte(value[originAt:headerSize])),
		Order:     number(orderAt),
		Sequence:  number(sequenceAt),
	}, nil
}

// parseKey accepts only what Key returns, so that an entry that was read can be deleted
// by its namespace and peer.
func parseKey(key []byte) (namespace string, p peer.ID, ok bool) {
	rest, ok := bytes.CutPrefix(key, []byte(Prefix))
	if !ok {
		return "", "", false
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || n > 1 && rest[n-1] == 0 || size > uint64(len(rest)-n) {
		return "", "", false // no length, a length that is not minimal, or too long a one
	}
	rest = rest[n:]
	return string(rest[:size]), peer.ID(rest[size:]), true
}
