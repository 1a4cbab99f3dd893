// Package dbformat defines how a registration is written to an ordered key-value
// database, so that it survives the process.
//
// There is one entry for each registration:
//
//	key     Prefix · uvarint(length of namespace) · namespace · peer ID
//	value   deadline · lifetime · origin · envelope · checksum
//
// The deadline is on the wall clock, in nanoseconds since 1970. The lifetime is what
// was left until then when the entry was written, in nanoseconds. Both take 8 bytes.
// The origin is the IPv6 address that the registration counts for, in 16 bytes; an IPv4
// address is mapped to IPv6, and zeros are no address. The checksum is the CRC-32C of the
// key and of the value up to here, in 4 bytes. Numbers are big-endian.
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
// OldPrefix is that of the version without an origin, whose entries are not read.
const (
	Prefix    = "go-waku-rendezvous/2/r"
	OldPrefix = "go-waku-rendezvous/1/r"
)

// Sizes of the parts of a value, in bytes.
const (
	originAt     = 8 + 8 // after deadline and lifetime
	headerSize   = originAt + 16
	checksumSize = crc32.Size
)

var (
	errKey   = errors.New("key is not that of a registration")
	errValue = errors.New("value of a registration is damaged")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Registration is what an entry says.
type Registration struct {
	Namespace string
	Peer      peer.ID
	Envelope  []byte    // part of the value that was parsed
	Deadline  time.Time // by the clock that the entry was parsed with; may have passed
	Origin    netip.Addr
}

// Key returns the key of the registration of p in a namespace.
func Key(namespace string, p peer.ID) []byte {
	key := make([]byte, 0, len(Prefix)+binary.MaxVarintLen64+len(namespace)+len(p))
	key = append(key, Prefix...)
	key = binary.AppendUvarint(key, uint64(len(namespace)))
	key = append(key, namespace...)
	return append(key, p...)
}

// Value returns the value of a registration that ends when left has passed from now.
// The key is that of [Key]. A negative left is written as zero. A deadline that does
// not fit, which is one after the year 2262, is written as the latest that does.
func Value(key, envelope []byte, origin netip.Addr, left time.Duration, now time.Time) []byte {
	left = max(left, 0)
	value := make([]byte, 0, headerSize+len(envelope)+checksumSize)
	value = binary.BigEndian.AppendUint64(value, uint64(wallDeadline(now, left)))
	value = binary.BigEndian.AppendUint64(value, uint64(left))
	value = appendOrigin(value, origin)
	value = append(value, envelope...)
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
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
	deadline := time.Unix(0, int64(binary.BigEndian.Uint64(value)))
	lifetime := time.Duration(binary.BigEndian.Uint64(value[8:]))
	return Registration{
		Namespace: namespace,
		Peer:      p,
		Envelope:  value[headerSize:body],
		Deadline:  now.Add(min(deadline.Sub(now), lifetime)),
		Origin:    parseOrigin([16]byte(value[originAt:headerSize])),
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
