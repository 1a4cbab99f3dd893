package main

// What paging takes: the methods of rendezvous.Pager. They read the order that order.go keeps.

import (
	"bytes"
	"context"
	"encoding/binary"
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
