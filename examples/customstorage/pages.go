package main

// What paging takes: the methods of rendezvous.Pager.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Page implements [rendezvous.Pager]. It begins in the order bucket after the sequence of the
// cursor, and so reads only what it returns.
func (s *Storage) Page(ctx context.Context, namespace string, kind rendezvous.RecordKind, after rendezvous.Cursor, n, maxBytes int) ([]rendezvous.Record, rendezvous.Cursor, error) {
	var page []rendezvous.Record
	var end rendezvous.Cursor
	err := do(ctx, s.db.View, func(tx *bbolt.Tx) error {
		prefix, sequence := orderPrefix(kind, namespace), parseCursor(tx, after)
		cursor, now, left := tx.Bucket(order).Cursor(), time.Now(), maxBytes
		k, v := cursor.Seek(binary.BigEndian.AppendUint64(bytes.Clone(prefix), sequence+1))
		for ; len(page) < n && bytes.HasPrefix(k, prefix); k, v = cursor.Next() {
			ns, p := parseName(v)
			r := recordOf(ns, p, get(tx, ns, p))
			size := len(r.Namespace) + len(r.Envelope)
			if maxBytes > 0 && len(page) > 0 && size > left {
				break
			}
			sequence = binary.BigEndian.Uint64(k[len(prefix):])
			if !r.Deadline.After(now) {
				continue
			}
			left -= size
			r.Envelope = bytes.Clone(r.Envelope) // bbolt's bytes are valid only during the transaction
			page = append(page, r)
		}
		end = cursorOf(tx, sequence)
		return nil
	})
	return page, end, err
}

// Remove implements [rendezvous.Pager].
func (s *Storage) Remove(ctx context.Context, namespace string, p peer.ID) error {
	return do(ctx, s.db.Update, func(tx *bbolt.Tx) error {
		for _, ns := range namespacesOf(tx, p) {
			if namespace != "" && namespace != ns {
				continue
			}
			if err := remove(tx, ns, p, bytes.Clone(get(tx, ns, p)[:freshAt])); err != nil {
				return err
			}
		}
		return nil
	})
}

// Renew implements [rendezvous.Pager]. A registration keeps its place in the order, and
// remains a lasting one.
func (s *Storage) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	return do(ctx, s.db.Update, func(tx *bbolt.Tx) error {
		for _, p := range peers {
			for _, ns := range namespacesOf(tx, p) {
				value := bytes.Clone(get(tx, ns, p))
				until := nanoseconds(fresh)
				if bytes.Compare(until, value[:freshAt]) > 0 { // no longer than it is live
					until = value[:freshAt]
				}
				if bytes.Compare(until, value[freshAt:sequenceAt]) <= 0 {
					continue
				}
				copy(value[freshAt:], until)
				if err := tx.Bucket(namespaces).Bucket([]byte(ns)).Put([]byte(p), value); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// namespacesOf returns the namespaces in which a peer is registered.
func namespacesOf(tx *bbolt.Tx, p peer.ID) (names []string) {
	registered := tx.Bucket(peers).Bucket([]byte(p))
	if registered == nil {
		return nil
	}
	cursor := registered.Cursor()
	for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
		names = append(names, string(name))
	}
	return names
}

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
