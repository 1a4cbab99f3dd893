package redisstorage

// Cursors: places in the order of registrations.

import (
	"encoding/base64"
	"encoding/binary"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// mark is a place in the order of a shard. The zero mark is before the first registration.
type mark struct {
	order uint32 // ID of the order, which a shard that lost its registrations makes anew
	seq   int64  // sequence number of the last registration before the place: microseconds since 1970
}

// markSize is the size of a mark in a cursor, in bytes: four of the ID and seven of the sequence
// number. The cursor of twelve shards has 176 characters.
const markSize = 11

// encodeCursor returns the cursor that has a mark in each shard.
func encodeCursor(marks []mark) rendezvous.Cursor {
	var b []byte
	for _, m := range marks {
		b = binary.BigEndian.AppendUint32(b, m.order)
		b = append(b, binary.BigEndian.AppendUint64(nil, uint64(m.seq))[1:]...)
	}
	return rendezvous.Cursor(base64.RawURLEncoding.EncodeToString(b))
}

// decodeCursor returns the mark of a cursor in each shard. The marks of a cursor that it does
// not understand are zero.
func decodeCursor(c rendezvous.Cursor, shards int) []mark {
	marks := make([]mark, shards)
	if len(c) > rendezvous.MaxCursorSize {
		return marks
	}
	b, err := base64.RawURLEncoding.DecodeString(string(c))
	if err != nil || len(b) != shards*markSize {
		return marks
	}
	for i := range marks {
		m := b[i*markSize:]
		marks[i].order = binary.BigEndian.Uint32(m)
		marks[i].seq = int64(binary.BigEndian.Uint64(m[3:]) & (1<<56 - 1)) // without the ID's last byte
	}
	return marks
}
