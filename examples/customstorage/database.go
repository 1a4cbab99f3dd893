package main

// The database: its buckets, keys and values.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The buckets of the database. The sequence number of each of them, and of the bucket of
// each peer, is its number of entries.
var (
	namespaces = []byte("namespaces") // namespace → peer → value, see below
	peers      = []byte("peers")      // peer → namespace → nothing
	ends       = []byte("ends")       // deadline, namespace and peer → nothing
	origins    = []byte("origins")    // network → nothing; its sequence number counts
	sizes      = []byte("sizes")      // its sequence number is the size of all registrations

	// For pages:
	order        = []byte("order")        // kind, namespace or nothing, and sequence → namespace and peer
	identity     = []byte("identity")     // its sequence number is a random one, for cursors
	lasting      = []byte("lasting")      // its sequence number counts lasting registrations
	lastingSizes = []byte("lastingSizes") // and that of this is their size
)

// A value is the deadline, the end of the freshness, the sequence in the order, the kind,
// whether the registration is a lasting one, the origin and the envelope.
const (
	freshAt    = 8
	sequenceAt = freshAt + 8
	kindAt     = sequenceAt + 8
	lastingAt  = kindAt + 1
	originAt   = lastingAt + 1
	headerSize = originAt + 16
)

// recordOf returns the record in a value.
func recordOf(namespace string, p peer.ID, value []byte) rendezvous.Record {
	return rendezvous.Record{
		Namespace: namespace,
		Peer:      p,
		Envelope:  value[headerSize:],
		Deadline:  time.Unix(0, int64(binary.BigEndian.Uint64(value))),
		Fresh:     time.Unix(0, int64(binary.BigEndian.Uint64(value[freshAt:]))),
		Kind:      rendezvous.RecordKind(value[kindAt]),
		Origin:    addrOf(value),
	}
}

// addrOf returns the origin in a value.
func addrOf(value []byte) netip.Addr {
	a := netip.AddrFrom16([16]byte(value[originAt:headerSize]))
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}

// get returns the value of a registration, or nil.
func get(tx *bbolt.Tx, namespace string, p peer.ID) []byte {
	b := tx.Bucket(namespaces).Bucket([]byte(namespace))
	if b == nil {
		return nil
	}
	return b.Get([]byte(p))
}

// sizeOf is what a registration counts against a quota of bytes.
func sizeOf(namespace string, p peer.ID, envelope int) int { return len(namespace) + len(p) + envelope }

// nanoseconds returns a time in 8 bytes that sort as the times do.
func nanoseconds(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.UnixNano(), 0)))
}

// count adds n to the number of entries in the sequence number of a bucket.
func count(b *bbolt.Bucket, n int) error { return b.SetSequence(b.Sequence() + uint64(n)) }

// bucket returns a bucket inside another one. It creates the bucket if there is none.
func bucket(in *bbolt.Bucket, name []byte) (*bbolt.Bucket, error) {
	if b := in.Bucket(name); b != nil {
		return b, nil
	}
	if err := count(in, +1); err != nil {
		return nil, err
	}
	return in.CreateBucket(name)
}

// dropEmpty deletes a bucket inside another one if it has no entries.
func dropEmpty(in *bbolt.Bucket, name []byte) error {
	if k, _ := in.Bucket(name).Cursor().First(); k != nil {
		return nil
	}
	return errors.Join(in.DeleteBucket(name), count(in, -1))
}

// endKey returns a key that sorts by deadline.
func endKey(deadline []byte, namespace string, p peer.ID) []byte {
	return appendName(bytes.Clone(deadline), namespace, p)
}

func parseEndKey(key []byte) (deadline []byte, namespace string, p peer.ID) {
	namespace, p = parseName(key[8:])
	return bytes.Clone(key[:8]), namespace, p
}

// appendName appends a namespace and a peer. It includes the length of the namespace,
// because no byte could mark where the namespace ends and the peer begins.
func appendName(b []byte, namespace string, p peer.ID) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(namespace)))
	b = append(b, namespace...)
	return append(b, p...)
}

func parseName(b []byte) (namespace string, p peer.ID) {
	size := int(binary.BigEndian.Uint16(b))
	return string(b[2 : 2+size]), peer.ID(b[2+size:])
}

// each calls f with each record of a namespace, or of all namespaces for "".
func each(tx *bbolt.Tx, namespace string, f func(rendezvous.Record)) {
	all := tx.Bucket(namespaces)
	of := func(name []byte) {
		members := all.Bucket(name)
		if members == nil {
			return
		}
		cursor := members.Cursor()
		for p, v := cursor.First(); p != nil; p, v = cursor.Next() {
			f(recordOf(string(name), peer.ID(p), v))
		}
	}
	if namespace != "" {
		of([]byte(namespace))
		return
	}
	cursor := all.Cursor()
	for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
		of(name)
	}
}
