package main

// An implementation of rendezvous.Storage on bbolt.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Storage stores registrations in a bbolt file, which is a B+ tree with transactions. It
// shows how little a storage needs. It is not fast: Sample reads the whole namespace.
type Storage struct {
	db    *bbolt.DB
	close sync.Once
	stop  chan struct{}
	swept sync.WaitGroup
}

// Open opens the storage in a file. It creates the file if there is none.
func Open(path string) (*Storage, error) {
	// Without NoSync, each write would wait for the disk. With it, registrations survive
	// the end of the process but not a power failure, which is enough for 20 seconds.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{namespaces, peers, ends, origins, sizes, order, identity, lasting, lastingSizes} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if b := tx.Bucket(identity); b.Sequence() == 0 {
			return b.SetSequence(rand.Uint64())
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", path, err), db.Close())
	}
	s := &Storage{db: db, stop: make(chan struct{})}
	s.swept.Go(s.sweep)
	return s, nil
}

// Add implements [rendezvous.Storage]. It removes expired registrations first, so that
// limits count only live ones.
func (s *Storage) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	return do(ctx, s.db.Update, func(tx *bbolt.Tx) error {
		if err := removeEnded(tx, time.Now()); err != nil {
			return err
		}
		if r.Fresh.IsZero() || r.Fresh.After(r.Deadline) {
			r.Fresh = r.Deadline
		}
		old := get(tx, r.Namespace, r.Peer)
		if !admitLasting(tx, r, old, q) || old != nil && !admitGrowth(tx, r, old, q) {
			return rendezvous.ErrFull
		}
		if old == nil {
			if err := admit(tx, r, q); err != nil {
				return err
			}
		} else if err := moveOrigin(tx, &r, addrOf(old), q); err != nil {
			return err
		} else if err := remove(tx, r.Namespace, r.Peer, old[:8]); err != nil {
			return err
		}
		return put(tx, r)
	})
}

// Sample implements [rendezvous.Storage] by reservoir sampling: it reads all records and
// each of them ends up among the n with the same probability.
func (s *Storage) Sample(ctx context.Context, namespace string, n, maxBytes int) ([]rendezvous.Record, error) {
	var drawn []rendezvous.Record
	err := do(ctx, s.db.View, func(tx *bbolt.Tx) error {
		seen, now := 0, time.Now()
		draw := func(r rendezvous.Record) {
			if !r.Fresh.After(now) || r.Kind != rendezvous.KindPeerRecord {
				return
			}
			r.Deadline = r.Fresh
			seen++
			if len(drawn) < n {
				drawn = append(drawn, r)
			} else if i := rand.IntN(seen); i < n {
				drawn[i] = r
			}
		}
		each(tx, namespace, draw)
		rand.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
		if maxBytes > 0 {
			drawn = bounded(drawn, maxBytes)
		}
		for i := range drawn { // bbolt's bytes are valid only during the transaction
			drawn[i].Envelope = bytes.Clone(drawn[i].Envelope)
		}
		return nil
	})
	return drawn, err
}

// bounded returns the first of records that together do not exceed maxBytes.
func bounded(records []rendezvous.Record, maxBytes int) []rendezvous.Record {
	for i, r := range records {
		if maxBytes -= len(r.Namespace) + len(r.Envelope); maxBytes < 0 {
			return records[:i]
		} else if maxBytes == 0 {
			return records[:i+1]
		}
	}
	return records
}

// Counts implements [rendezvous.Storage].
func (s *Storage) Counts(ctx context.Context) (c rendezvous.Counts, err error) {
	err = do(ctx, s.db.View, func(tx *bbolt.Tx) error {
		c.Registrations = int(tx.Bucket(ends).Sequence())
		c.Namespaces = int(tx.Bucket(namespaces).Sequence())
		return nil
	})
	return c, err
}

// Close implements [rendezvous.Storage]. It also closes the database, because Open opened
// it.
func (s *Storage) Close() error {
	s.close.Do(func() { close(s.stop) })
	s.swept.Wait()
	return s.db.Close()
}

// sweep removes expired registrations every second, in case nobody calls Add.
func (s *Storage) sweep() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// If this fails, the next Add or the next tick tries again.
			_ = s.db.Update(func(tx *bbolt.Tx) error { return removeEnded(tx, time.Now()) })
		case <-s.stop:
			return
		}
	}
}

// do runs f in a transaction unless ctx has ended. It returns the errors that the contract
// requires.
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

// admit returns an error if a new registration of a peer would exceed a limit.
func admit(tx *bbolt.Tx, r rendezvous.Record, q rendezvous.Quota) error {
	own := tx.Bucket(peers).Bucket([]byte(r.Peer))
	switch {
	case q.PerPeer > 0 && own != nil && own.Sequence() >= uint64(q.PerPeer):
		return rendezvous.ErrPeerLimit
	case !hasRoom(tx, r.Origin, q.PerOrigin):
		return rendezvous.ErrOriginLimit
	case q.Bytes > 0 && int64(tx.Bucket(sizes).Sequence())+int64(sizeOf(r.Namespace, r.Peer, len(r.Envelope))) > q.Bytes:
		return rendezvous.ErrFull
	case q.Total > 0 && tx.Bucket(ends).Sequence() >= uint64(q.Total):
		return rendezvous.ErrFull
	}
	return nil
}

// admitGrowth reports whether r, which replaces an old value, is no larger than that or than
// the average, or whether there is room for it.
func admitGrowth(tx *bbolt.Tx, r rendezvous.Record, old []byte, q rendezvous.Quota) bool {
	growth := len(r.Envelope) - (len(old) - headerSize)
	if q.Total == 0 || q.Bytes == 0 || growth <= 0 || int64(sizeOf(r.Namespace, r.Peer, len(r.Envelope))) <= q.Bytes/int64(q.Total) {
		return true
	}
	wasLasting := old[lastingAt] == 1 && r.Fresh.Before(r.Deadline)
	return int64(tx.Bucket(sizes).Sequence())+int64(growth) <= q.Bytes &&
		(!wasLasting || int64(tx.Bucket(lastingSizes).Sequence())+int64(growth) <= max(1, q.Bytes/2))
}

// networks returns the networks that the registrations of an address count for, and how many
// times as many each may have as the first.
func networks(a netip.Addr) map[netip.Prefix]int {
	a = a.Unmap()
	if !a.IsValid() {
		return nil
	}
	if a.Is4() {
		return map[netip.Prefix]int{netip.PrefixFrom(a, 32): 1}
	}
	all := make(map[netip.Prefix]int)
	for bits, times := range map[int]int{64: 1, 56: 4, 48: 16} {
		all[netip.PrefixFrom(a.WithZone(""), bits).Masked()] = times
	}
	return all
}

// hasRoom reports whether another registration may come from an address.
func hasRoom(tx *bbolt.Tx, a netip.Addr, perOrigin int) bool {
	for network, times := range networks(a) {
		b := tx.Bucket(origins).Bucket([]byte(network.String()))
		if perOrigin > 0 && b != nil && b.Sequence()/uint64(times) >= uint64(perOrigin) {
			return false
		}
	}
	return true
}

// moveOrigin makes a refresh count where it counted until now if there is no room where
// it comes from.
func moveOrigin(tx *bbolt.Tx, r *rendezvous.Record, from netip.Addr, q rendezvous.Quota) error {
	if err := countOrigin(tx, from, -1); err != nil {
		return err
	}
	stays := !hasRoom(tx, r.Origin, q.PerOrigin)
	if err := countOrigin(tx, from, +1); err != nil {
		return err
	}
	if stays {
		r.Origin = from
	}
	return nil
}

// countOrigin adds n to the counts of an address.
func countOrigin(tx *bbolt.Tx, a netip.Addr, n int) error {
	for network := range networks(a) {
		name := []byte(network.String())
		b, err := tx.Bucket(origins).CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		if err := count(b, n); err != nil {
			return err
		}
		if b.Sequence() == 0 {
			if err := tx.Bucket(origins).DeleteBucket(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// put adds a registration that is not in the database.
func put(tx *bbolt.Tx, r rendezvous.Record) error {
	deadline := nanoseconds(r.Deadline)
	members, err := bucket(tx.Bucket(namespaces), []byte(r.Namespace))
	if err != nil {
		return err
	}
	own, err := bucket(tx.Bucket(peers), []byte(r.Peer))
	if err != nil {
		return err
	}
	var origin [16]byte
	if r.Origin.IsValid() {
		origin = r.Origin.As16()
	}
	sequence, err := tx.Bucket(order).NextSequence()
	if err != nil {
		return err
	}
	isLasting := byte(0)
	if r.Fresh.Before(r.Deadline) {
		isLasting = 1
	}
	value := slices.Concat(deadline, nanoseconds(r.Fresh), binary.BigEndian.AppendUint64(nil, sequence),
		[]byte{byte(r.Kind), isLasting}, origin[:], r.Envelope)
	return errors.Join(
		enterOrder(tx, r.Namespace, r.Peer, value),
		members.Put([]byte(r.Peer), value),
		countOrigin(tx, r.Origin, +1),
		count(tx.Bucket(sizes), sizeOf(r.Namespace, r.Peer, len(r.Envelope))),
		own.Put([]byte(r.Namespace), nil),
		count(own, +1),
		tx.Bucket(ends).Put(endKey(deadline, r.Namespace, r.Peer), nil),
		count(tx.Bucket(ends), +1),
	)
}

// remove removes a registration, given its current deadline.
func remove(tx *bbolt.Tx, namespace string, p peer.ID, deadline []byte) error {
	members, own := tx.Bucket(namespaces).Bucket([]byte(namespace)), tx.Bucket(peers).Bucket([]byte(p))
	value := members.Get([]byte(p))
	size := sizeOf(namespace, p, len(value)-headerSize)
	return errors.Join(
		leaveOrder(tx, namespace, p, value),
		countOrigin(tx, addrOf(value), -1),
		count(tx.Bucket(sizes), -size),
		tx.Bucket(ends).Delete(endKey(deadline, namespace, p)),
		count(tx.Bucket(ends), -1),
		members.Delete([]byte(p)),
		own.Delete([]byte(namespace)),
		count(own, -1),
		dropEmpty(tx.Bucket(namespaces), []byte(namespace)),
		dropEmpty(tx.Bucket(peers), []byte(p)),
	)
}

// removeEnded removes expired registrations. The keys of the ends bucket begin with the
// deadline, so expired registrations come first.
func removeEnded(tx *bbolt.Tx, now time.Time) error {
	cursor := tx.Bucket(ends).Cursor()
	for {
		k, _ := cursor.First()
		if k == nil || int64(binary.BigEndian.Uint64(k)) > now.UnixNano() {
			return nil
		}
		deadline, namespace, p := parseEndKey(k)
		if err := remove(tx, namespace, p, deadline); err != nil {
			return err
		}
	}
}
