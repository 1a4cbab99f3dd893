package main

// What paging takes: the order of registrations, and the sums of the lasting ones.

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// admitLasting reports whether r, which may replace an old value, leaves lasting
// registrations their half of the quota.
func admitLasting(tx *bbolt.Tx, r rendezvous.Record, old []byte, q rendezvous.Quota) bool {
	if !r.Fresh.Before(r.Deadline) || len(old) > 0 && old[lastingAt] == 1 {
		return true
	}
	n, size := tx.Bucket(lasting).Sequence(), tx.Bucket(lastingSizes).Sequence()
	size += uint64(sizeOf(r.Namespace, r.Peer, len(r.Envelope)))
	return (q.Total == 0 || n < uint64(max(1, q.Total/2))) && (q.Bytes == 0 || size <= uint64(max(1, q.Bytes/2)))
}

// enterOrder gives a registration its place in the order.
func enterOrder(tx *bbolt.Tx, namespace string, p peer.ID, value []byte) error {
	err := countLasting(tx, namespace, p, value, +1)
	for _, key := range orderKeys(namespace, value) {
		err = errors.Join(err, tx.Bucket(order).Put(key, appendName(nil, namespace, p)))
	}
	return err
}

// leaveOrder removes a registration from the order.
func leaveOrder(tx *bbolt.Tx, namespace string, p peer.ID, value []byte) error {
	err := countLasting(tx, namespace, p, value, -1)
	for _, key := range orderKeys(namespace, value) {
		err = errors.Join(err, tx.Bucket(order).Delete(key))
	}
	return err
}

// countLasting adds a registration to the sums n times, if it is a lasting one; n is 1
// or -1.
func countLasting(tx *bbolt.Tx, namespace string, p peer.ID, value []byte, n int) error {
	if value[lastingAt] == 0 {
		return nil
	}
	return errors.Join(
		count(tx.Bucket(lasting), n),
		count(tx.Bucket(lastingSizes), n*sizeOf(namespace, p, len(value)-headerSize)),
	)
}

// orderKeys returns the keys of a registration in the order of its namespace, and in that of
// all.
func orderKeys(namespace string, value []byte) [2][]byte {
	kind, sequence := rendezvous.RecordKind(value[kindAt]), value[sequenceAt:kindAt]
	return [2][]byte{
		append(orderPrefix(kind, namespace), sequence...),
		append(orderPrefix(kind, ""), sequence...),
	}
}

// orderPrefix begins the keys of a namespace and a kind in the order bucket, or those of all
// namespaces for "".
func orderPrefix(kind rendezvous.RecordKind, namespace string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{byte(kind)}, uint16(len(namespace))), namespace...)
}

// cursorOf returns the cursor after a sequence.
func cursorOf(tx *bbolt.Tx, sequence uint64) rendezvous.Cursor {
	return rendezvous.Cursor(fmt.Sprintf("%x-%d", tx.Bucket(identity).Sequence(), sequence))
}

// parseCursor returns the sequence of a cursor, or 0 if this database did not make it.
func parseCursor(tx *bbolt.Tx, c rendezvous.Cursor) uint64 {
	var id, sequence uint64
	_, err := fmt.Sscanf(string(c), "%x-%d", &id, &sequence)
	if err != nil || cursorOf(tx, sequence) != c || sequence > tx.Bucket(order).Sequence() {
		return 0
	}
	return sequence
}
