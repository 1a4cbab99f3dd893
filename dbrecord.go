package rendezvous

// How a registration is written to a database.
//
//	key     keyPrefix · 'r' · uvarint(length of namespace) · namespace · peer ID
//	value   deadline · lifetime · envelope · checksum
//
// Deadline is the wall clock's, in nanoseconds since 1970; lifetime is what was
// left until then when it was written, in nanoseconds. Both are 8 bytes, the
// checksum is the CRC-32C of all before it, key included, in 4. All are big-endian.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// keyPrefix begins every key that is ours, with the version of the format.
	keyPrefix    = "go-waku-rendezvous/1/"
	recordPrefix = keyPrefix + "r"
	ownerKey     = keyPrefix + "o"
)

var (
	errUnreadable = errors.New("not a registration")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

func recordKey(namespace string, p peer.ID) []byte {
	key := make([]byte, 0, len(recordPrefix)+binary.MaxVarintLen64+len(namespace)+len(p))
	key = append(key, recordPrefix...)
	key = binary.AppendUvarint(key, uint64(len(namespace)))
	key = append(key, namespace...)
	return append(key, p...)
}

func recordValue(key []byte, r Record, now time.Time) []byte {
	left := clampLeft(r.Deadline.Sub(now))
	value := make([]byte, 0, 8+8+len(r.Envelope)+4)
	value = binary.BigEndian.AppendUint64(value, uint64(wallDeadline(now, left)))
	value = binary.BigEndian.AppendUint64(value, uint64(left))
	value = append(value, r.Envelope...)
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

// wallDeadline is when left will have passed on the wall clock.
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

// parseRecord reads what recordKey and recordValue wrote. The record's deadline is
// counted from now: it has at most the lifetime left that it was written with, so
// that a wall clock that was set back meanwhile keeps nothing for ever. Its envelope is part of value.
func parseRecord(key, value []byte, now time.Time) (Record, error) {
	namespace, p, ok := parseRecordKey(key)
	body := len(value) - 4
	if !ok || body < 16 || binary.BigEndian.Uint32(value[body:]) != checksum(key, value[:body]) {
		return Record{}, errUnreadable
	}
	deadline := time.Unix(0, int64(binary.BigEndian.Uint64(value)))
	lifetime := time.Duration(binary.BigEndian.Uint64(value[8:]))
	return Record{
		Namespace: namespace,
		Peer:      p,
		Envelope:  value[16:body],
		Deadline:  now.Add(min(deadline.Sub(now), lifetime)),
	}, nil
}

func parseRecordKey(key []byte) (namespace string, p peer.ID, ok bool) {
	rest, ok := bytes.CutPrefix(key, []byte(recordPrefix))
	if !ok {
		return "", "", false
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return "", "", false
	}
	rest = rest[n:]
	return string(rest[:size]), peer.ID(rest[size:]), true
}
