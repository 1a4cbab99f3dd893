package redisstorage

import (
	"encoding/binary"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// FuzzDecodeEntry checks that an entry decodes to what was packed, that one that was cut off
// before its envelope is an error, and that other bytes do not panic.
func FuzzDecodeEntry(f *testing.F) {
	f.Add(uint64(1_700_000_000_000), "peer", "\x7f\x00\x00\x01", []byte("envelope"))
	f.Add(uint64(0), "", "", []byte{})
	f.Fuzz(func(t *testing.T, deadline uint64, p, origin string, envelope []byte) {
		_, _ = decodeEntry(envelope)

		if deadline >= 1<<48 || len(p) > maxNameSize || len(origin) > 15 {
			return
		}
		packed := binary.BigEndian.AppendUint64(nil, deadline<<16|uint64(len(p)))
		packed = append(packed, byte(len(origin)))
		packed = append(append(packed, p+origin...), envelope...)
		e, err := decodeEntry(packed)
		require.NoError(t, err)
		require.Equal(t, entry{exists: true, peer: peer.ID(p), envelope: e.envelope, fresh: int64(deadline), deadline: int64(deadline)}, e)
		require.Equal(t, string(envelope), string(e.envelope))

		_, err = decodeEntry(packed[:entryHeader+len(p)+len(origin)-1])
		require.ErrorIs(t, err, errUnexpected)
	})
}
