package main

// A rendezvous.Storage in a bbolt database.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The top-level buckets of the database. A bucket's sequence number counts its entries,
// in these buckets and in the bucket of each peer.
var (
	namespaces = []byte("namespaces") // namespace → peer → deadline and envelope
	peers      = []byte("peers")      // peer → namespace → nothing
	deadlines  = []byte("ends")       // deadline, namespace and peer → nothing
)

// Storage keeps registrations in a bbolt database, which is a B+ tree with transactions.
// It shows how to write a storage, and is not fast: Sample reads the whole namespace.
type Storage struct {
	db        *bbolt.DB
	closeOnce sync.Once
	closing   chan struct{} // stops the sweeper
	sweeper   sync.WaitGroup
}

// Open opens a storage in a file. It creates the file if it does not exist.
func Open(path string) (*Storage, error) {
	// With NoSync, data survives the end of the process but not a power failure. That is
	// enough for registrations, which live for 20 seconds.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{namespaces, peers, deadlines} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create buckets in %s: %w", path, err), db.Close())
	}
	s := &Storage{db: db, closing: make(chan struct{})}
	s.sweeper.Go(s.sweep)
	return s, nil
}

// Add implements [rendezvous.Storage]. It first removes expired registrations, because
// they do not count against the limits.
func (s *Storage) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	return do(ctx, s.db.Update, func(tx *bbolt.Tx) error {
		if err := removeExpired(tx, time.Now()); err != nil {
			return err
		}
		old := get(tx, r.Namespace, r.Peer)
		if old == nil {
			if err := admit(tx, r.Peer, q); err != nil {
				return err
			}
		} else if err := remove(tx, r.Namespace, r.Peer, old[:8]); err != nil {
			return err
		}
		return put(tx, r)
	})
}

// Sample implements [rendezvous.Storage] with reservoir sampling: after each record, the
// sample is uniform over all records so far.
func (s *Storage) Sample(ctx context.Context, namespace string, n int) ([]rendezvous.Record, error) {
	var sample []rendezvous.Record
	err := do(ctx, s.db.View, func(tx *bbolt.Tx) error {
		seen, now := 0, time.Now()
		draw := func(r rendezvous.Record) {
			if !r.Deadline.After(now) {
				return
			}
			seen++
			if len(sample) < n {
				sample = append(sample, r)
			} else if i := rand.IntN(seen); i < n {
				sample[i] = r
			}
		}
		forEach(tx, namespace, draw)
		for i := range sample { // the bytes belong to the transaction
			sample[i].Envelope = bytes.Clone(sample[i].Envelope)
		}
		return nil
	})
	rand.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	return sample, err
}

// Counts implements [rendezvous.Storage].
func (s *Storage) Counts(ctx context.Context) (c rendezvous.Counts, err error) {
	err = do(ctx, s.db.View, func(tx *bbolt.Tx) error {
		c.Registrations = int(tx.Bucket(deadlines).Sequence())
		c.Namespaces = int(tx.Bucket(namespaces).Sequence())
		return nil
	})
	return c, err
}

// Close implements [rendezvous.Storage]. It also closes the database, which Open opened.
func (s *Storage) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	s.sweeper.Wait()
	return s.db.Close()
}

// sweep removes expired registrations once a second, even if nothing is added.
func (s *Storage) sweep() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// On an error, the next sweep or Add tries again.
			_ = s.db.Update(func(tx *bbolt.Tx) error { return removeExpired(tx, time.Now()) })
		case <-s.closing:
			return
		}
	}
}

// do runs a transaction unless ctx has ended. It returns ErrClosed if the database is
// closed, as the interface requires.
func do(ctx context.Context, transaction func(func(*bbolt.Tx) error) error, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := transaction(f)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return rendezvous.ErrClosed
	}
	return err
}

// admit checks the limits for a new registration of a peer.
func admit(tx *bbolt.Tx, p peer.ID, q rendezvous.Quota) error {
	ofPeer := tx.Bucket(peers).Bucket([]byte(p))
	switch {
	case q.PerPeer > 0 && ofPeer != nil && ofPeer.Sequence() >= uint64(q.PerPeer):
		return rendezvous.ErrPeerLimit
	case q.Total > 0 && tx.Bucket(deadlines).Sequence() >= uint64(q.Total):
		return rendezvous.ErrFull
	}
	return nil
}

// get returns the deadline and the envelope of a registration, or nil if there is none.
func get(tx *bbolt.Tx, namespace string, p peer.ID) []byte {
	b := tx.Bucket(namespaces).Bucket([]byte(namespace))
	if b == nil {
		return nil
	}
	return b.Get([]byte(p))
}

func put(tx *bbolt.Tx, r rendezvous.Record) error {
	deadline := binary.BigEndian.AppendUint64(nil, uint64(max(r.Deadline.UnixNano(), 0)))
	ofNamespace, err := bucket(tx.Bucket(namespaces), []byte(r.Namespace))
	if err != nil {
		return err
	}
	ofPeer, err := bucket(tx.Bucket(peers), []byte(r.Peer))
	if err != nil {
		return err
	}
	return errors.Join(
		ofNamespace.Put([]byte(r.Peer), append(bytes.Clone(deadline), r.Envelope...)),
		ofPeer.Put([]byte(r.Namespace), nil),
		addCount(ofPeer, +1),
		tx.Bucket(deadlines).Put(deadlineKey(deadline, r.Namespace, r.Peer), nil),
		addCount(tx.Bucket(deadlines), +1),
	)
}

// remove removes a registration, whose deadline the caller knows.
func remove(tx *bbolt.Tx, namespace string, p peer.ID, deadline []byte) error {
	ofNamespace, ofPeer := tx.Bucket(namespaces).Bucket([]byte(namespace)), tx.Bucket(peers).Bucket([]byte(p))
	return errors.Join(
		tx.Bucket(deadlines).Delete(deadlineKey(deadline, namespace, p)),
		addCount(tx.Bucket(deadlines), -1),
		ofNamespace.Delete([]byte(p)),
		ofPeer.Delete([]byte(namespace)),
		addCount(ofPeer, -1),
		dropEmpty(tx.Bucket(namespaces), []byte(namespace)),
		dropEmpty(tx.Bucket(peers), []byte(p)),
	)
}

// addCount adds n to the number of entries of a bucket.
func addCount(b *bbolt.Bucket, n int) error { return b.SetSequence(b.Sequence() + uint64(n)) }

// bucket returns a bucket inside another one. It creates it if it does not exist.
func bucket(in *bbolt.Bucket, name []byte) (*bbolt.Bucket, error) {
	if b := in.Bucket(name); b != nil {
		return b, nil
	}
	if err := addCount(in, +1); err != nil {
		return nil, err
	}
	return in.CreateBucket(name)
}

// dropEmpty deletes a bucket inside another one if it is empty.
func dropEmpty(in *bbolt.Bucket, name []byte) error {
	if k, _ := in.Bucket(name).Cursor().First(); k != nil {
		return nil
	}
	return errors.Join(in.DeleteBucket(name), addCount(in, -1))
}

// removeExpired removes all expired registrations. Their keys come first in the bucket,
// which is sorted by deadline.
func removeExpired(tx *bbolt.Tx, now time.Time) error {
	cursor := tx.Bucket(deadlines).Cursor()
	for {
		k, _ := cursor.First()
		if k == nil || int64(binary.BigEndian.Uint64(k)) > now.UnixNano() {
			return nil
		}
		deadline, namespace, p := parseDeadlineKey(k)
		if err := remove(tx, namespace, p, deadline); err != nil {
			return err
		}
	}
}

// deadlineKey returns a key of the deadlines bucket. It contains the length of the
// namespace, because no separator could be told from the bytes of a namespace.
func deadlineKey(deadline []byte, namespace string, p peer.ID) []byte {
	key := binary.BigEndian.AppendUint16(bytes.Clone(deadline), uint16(len(namespace)))
	key = append(key, namespace...)
	return append(key, p...)
}

func parseDeadlineKey(key []byte) (deadline []byte, namespace string, p peer.ID) {
	size := int(binary.BigEndian.Uint16(key[8:]))
	return bytes.Clone(key[:8]), string(key[10 : 10+size]), peer.ID(key[10+size:])
}

// forEach calls f with all records of a namespace, or of all namespaces if it is empty.
func forEach(tx *bbolt.Tx, namespace string, f func(rendezvous.Record)) {
	all := tx.Bucket(namespaces)
	inNamespace := func(name []byte) {
		b := all.Bucket(name)
		if b == nil {
			return
		}
		cursor := b.Cursor()
		for p, v := cursor.First(); p != nil; p, v = cursor.Next() {
			f(rendezvous.Record{
				Namespace: string(name),
				Peer:      peer.ID(p),
				Envelope:  v[8:],
				Deadline:  time.Unix(0, int64(binary.BigEndian.Uint64(v))),
			})
		}
	}
	if namespace != "" {
		inNamespace([]byte(namespace))
		return
	}
	cursor := all.Cursor()
	for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
		inNamespace(name)
	}
}
