package rendezvous

// A storage in memory with a database behind it, for registrations that must survive the
// process.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/dbformat"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

// NewStorage returns a storage that answers from memory and writes through to db, so
// that an acknowledged registration survives the process. It loads the registrations
// in db first. It deletes those that have ended or cannot be read, with one log line
// that counts them, and ignores keys that are not its own. If reading fails, it logs the
// error and begins with what it could read.
//
// If a write to db fails, Add returns the error and the previous registration stays. db must
// not lose a completed write when the process is killed; whether writes survive a power
// failure is up to db. Add, Remove, Close, NewStorage and the first Page wait for db;
// Sample, Renew and Counts do not. A call into db cannot be cancelled: while a db hangs, the
// call whose write hangs waits for db, and so does Close. Other calls that need db wait
// until their context ends.
//
// db belongs to the caller, who closes it after the storage. One storage at a time owns
// a db: a second storage over the same db would miss what the first one adds, and either
// would delete what the other has refreshed. With a nil db, NewStorage is
// [NewMemoryStorage].
func NewStorage(db DB) Storage {
	if unopened, is := db.(*LevelDB); db == nil || is && unopened == nil {
		logging.Log.Error("no database given: registrations are kept in memory only")
		return NewMemoryStorage()
	}
	return newDurableStorage(db, time.Now)
}

// reserveStep is how many places in the order are reserved in the database at a time.
const reserveStep = 1 << 16

type durableStorage struct {
	*memoryStorage
	db DB
	// writing holds a token while a change and its write to db are made, so that both
	// are made in the same order. It is a lock that a context can stop waiting for.
	writing   chan struct{}
	closing   chan struct{}
	closeOnce sync.Once
	failures  logging.Limit // of writes

	// expired are the registrations that have left the registry and may still be in db.
	// Guarded by mu.
	expired []registrationKey
	// order is the identity of the order, and how many of its places are reserved in db.
	// No place beyond is written into db or returned to a caller. Guarded by mu; it changes
	// only while the write lock is held, too.
	order dbformat.Order
}

// registrationKey identifies a registration.
type registrationKey struct {
	namespace string
	peer      peer.ID
}

func newDurableStorage(db DB, now func() time.Time) *durableStorage {
	s := &durableStorage{
		db:      db,
		writing: make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	s.memoryStorage = newMemoryStorage(now, func(namespace string, p peer.ID) {
		s.expired = append(s.expired, registrationKey{namespace, p})
	})
	s.evict = s.evictAll
	s.writing <- struct{}{} // the first registration may expire before the last is loaded
	defer s.unlock()
	s.load()
	return s
}

func (s *durableStorage) Add(ctx context.Context, r Record, q Quota) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("add a registration: %w", err)
	}
	defer s.unlock()
	return s.add(&r, q)
}

// add writes r to db and then to memory. The caller holds the write lock, so an admitted
// record is still admitted after the write, and nobody closes the storage.
func (s *durableStorage) add(r *Record, q Quota) error {
	var now time.Time
	var needsOrder bool
	err := s.retry(func() error {
		now = s.now()
		e := s.entry(r, now)
		needsOrder = e.NeedsOrder()
		admission, err := s.admit(&e, q, now)
		r.Origin = admission.Origin.Addr()
		return err
	})
	if err != nil {
		return err
	}
	stored := dbformat.Registration{
		Envelope: r.Envelope,
		Deadline: now.Add(clampLife(r.Deadline.Sub(now))),
		Fresh:    r.Fresh,
		Kind:     uint8(r.Kind),
		Origin:   r.Origin,
	}
	if stored.Fresh.IsZero() {
		stored.Fresh = stored.Deadline
	}
	if stored.Order, stored.Sequence, err = s.nextPlace(needsOrder); err != nil {
		return fmt.Errorf("write the order of registrations to the database: %w", err)
	}
	key := dbformat.Key(r.Namespace, r.Peer)
	value := dbformat.Value(key, &stored, now)
	if err := s.logFailure(s.put(key, value)); err != nil {
		return fmt.Errorf("write a registration to the database: %w", err)
	}
	return s.locked(func() error { return s.memoryStorage.add(r, Quota{}) })
}

// nextPlace reserves the next place in the order in db, and returns it. The place is 0 if no
// order is kept and none is needed. The caller holds the write lock.
func (s *durableStorage) nextPlace(needed bool) (identity, sequence uint64, err error) {
	var order dbformat.Order
	_ = s.locked(func() error {
		if needed {
			s.registry.Order(s.order.Identity, s.order.Reserved+1)
		}
		order, sequence = s.order, s.registry.Next()
		return nil
	})
	if sequence == 0 {
		return 0, 0, nil
	}
	if sequence > order.Reserved {
		order.Reserved = sequence + reserveStep - 1
		if err := s.logFailure(s.put([]byte(dbformat.OrderKey), dbformat.OrderValue(order))); err != nil {
			return 0, 0, err
		}
		s.mu.Lock()
		s.order = order
		s.mu.Unlock()
	}
	return order.Identity, sequence, nil
}

// Page implements [Pager].
func (s *durableStorage) Page(ctx context.Context, namespace string, kind RecordKind, after Cursor, n, maxBytes int) ([]Record, Cursor, error) {
	if err := s.reserve(ctx); err != nil {
		return nil, "", fmt.Errorf("page through registrations: %w", err)
	}
	return s.memoryStorage.Page(ctx, namespace, kind, after, n, maxBytes)
}

// reserve begins the order, and reserves all places in it that are taken. Only the first call
// after the storage was opened has anything to do.
func (s *durableStorage) reserve(ctx context.Context) error {
	var reserved bool
	err := s.locked(func() error {
		if s.closed {
			return ErrClosed
		}
		reserved = s.registry.Ordered() && s.registry.Next() <= s.order.Reserved+1
		return nil
	})
	if err != nil || reserved {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	_, _, err = s.nextPlace(true)
	return err
}

// Remove implements [Pager].
func (s *durableStorage) Remove(ctx context.Context, namespace string, p peer.ID) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("remove a registration: %w", err)
	}
	defer s.unlock()
	names, err := s.namespacesOf(p)
	if err != nil {
		return err
	}
	for _, name := range names {
		if namespace != "" && namespace != name {
			continue
		}
		if err := s.logFailure(s.delete(dbformat.Key(name, p))); err != nil {
			return fmt.Errorf("delete a registration from the database: %w", err)
		}
		if err := s.memoryStorage.Remove(ctx, name, p); err != nil {
			return err
		}
	}
	return nil
}

// namespacesOf returns the namespaces in which a peer is registered.
func (s *durableStorage) namespacesOf(p peer.ID) (names []string, err error) {
	err = s.locked(func() error {
		if s.closed {
			return ErrClosed
		}
		names = s.registry.NamespacesOf(p)
		return nil
	})
	return names, err
}

// lock takes the write lock, unless the storage is being closed. While the caller holds it,
// the storage stays open.
func (s *durableStorage) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	select {
	case <-s.closing: // Close may have had the lock before
		s.unlock()
		return ErrClosed
	default:
		return nil
	}
}

func (s *durableStorage) unlock() { <-s.writing }

// Close waits for a write that is under way. The DB stays open.
func (s *durableStorage) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	s.writing <- struct{}{}
	defer s.unlock()
	return s.memoryStorage.Close()
}

// evictAll evicts what has expired from memory and deletes it from db.
func (s *durableStorage) evictAll() {
	for more := true; more; {
		if s.lock(context.Background()) != nil {
			return
		}
		more = s.evictBatch()
		s.deleteExpired()
		s.unlock()
	}
}

// deleteExpired deletes from db the registrations that have left the registry and were
// not made again. The caller holds the write lock, so none is made again meanwhile.
func (s *durableStorage) deleteExpired() {
	for _, k := range s.takeExpired() {
		_ = s.logFailure(s.delete(dbformat.Key(k.namespace, k.peer)))
	}
}

func (s *durableStorage) takeExpired() []registrationKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	gone := s.expired[:0]
	for _, k := range s.expired {
		if !s.registry.Has(k.namespace, k.peer) {
			gone = append(gone, k)
		}
	}
	s.expired = nil
	return gone
}

// logFailure logs the error of a write and returns it.
func (s *durableStorage) logFailure(err error) error {
	if err == nil {
		return nil
	}
	if n, due := s.failures.Due(); due {
		logging.Log.Error("writing to the database failed; a registration that cannot be written is refused", "error", err, "times", n)
	}
	return err
}

// load fills the memory from db.
func (s *durableStorage) load() {
	s.loadOrder()
	now := s.now()
	var obsolete [][]byte
	loaded, expired, unreadable, oldFormat := 0, 0, 0, 0
	err := s.forEach(dbformat.OldPrefix, func(key, _ []byte) {
		oldFormat++
		obsolete = append(obsolete, bytes.Clone(key))
	})
	err = errors.Join(err, s.forEach(dbformat.Prefix, func(key, value []byte) {
		stored, err := dbformat.Parse(key, value, now)
		switch {
		case err != nil:
			unreadable++
			obsolete = append(obsolete, bytes.Clone(key))
		case !stored.Deadline.After(now):
			expired++
			obsolete = append(obsolete, bytes.Clone(key))
		default:
			loaded++
			s.loadOne(&stored)
		}
	}))
	for _, key := range obsolete {
		_ = s.logFailure(s.delete(key))
	}
	if err != nil {
		logging.Log.Error("reading registrations from the database failed; the others are not loaded", "loaded", loaded, "error", err)
	}
	if len(obsolete) > 0 {
		logging.Log.Warn("deleted registrations from the database",
			"expired", expired, "unreadable", unreadable, "old_format", oldFormat, "loaded", loaded)
	}
}

// loadOrder reads the order. If there is none, it makes a new one, which is written when it is
// used first.
func (s *durableStorage) loadOrder() {
	s.order = dbformat.Order{Identity: rand.Uint64()}
	err := s.forEach(dbformat.OrderKey, func(key, value []byte) {
		if string(key) != dbformat.OrderKey {
			return
		}
		order, err := dbformat.ParseOrder(value)
		if err != nil {
			logging.Log.Warn("the order of registrations in the database is unreadable: peers that page through them begin anew", "error", err)
			return
		}
		s.order = order
	})
	if err != nil {
		logging.Log.Error("reading the order of registrations from the database failed: peers that page through them begin anew", "error", err)
	}
}

// loadOne adds a registration to the memory. The registration keeps its place if it had
// one in this order, and otherwise gets the last.
func (s *durableStorage) loadOne(stored *dbformat.Registration) {
	r := Record{
		Namespace: stored.Namespace,
		Peer:      stored.Peer,
		Envelope:  stored.Envelope,
		Deadline:  stored.Deadline,
		Fresh:     stored.Fresh,
		Kind:      RecordKind(stored.Kind),
		Origin:    stored.Origin,
	}
	_ = s.locked(func() error {
		now := s.now()
		e := s.entry(&r, now)
		if stored.Order == s.order.Identity {
			e.Sequence = stored.Sequence
		}
		if e.Sequence > 0 || e.NeedsOrder() {
			s.registry.Order(s.order.Identity, s.order.Reserved+1)
		}
		return s.addEntry(&e, Quota{}, now) // it cannot fail: the storage is open and there is no quota
	})
}

// put, delete and forEach call the database. A panic in it is an error.

func (s *durableStorage) put(key, value []byte) (err error) {
	defer func() { err = withPanic(err, recover()) }()
	return s.db.Put(key, value)
}

func (s *durableStorage) delete(key []byte) (err error) {
	defer func() { err = withPanic(err, recover()) }()
	return s.db.Delete(key)
}

// forEach calls f for every key that begins with prefix. An adapter's iterator may
// ignore the prefix.
func (s *durableStorage) forEach(prefix string, f func(key, value []byte)) (err error) {
	defer func() { err = withPanic(err, recover()) }()
	it := s.db.NewIterator([]byte(prefix))
	if it == nil {
		return errors.New("database returned no iterator")
	}
	defer it.Release()
	for it.Next() {
		if strings.HasPrefix(string(it.Key()), prefix) {
			f(it.Key(), it.Value())
		}
	}
	if failing, ok := it.(interface{ Error() error }); ok {
		return failing.Error()
	}
	return nil
}

// withPanic returns err joined with the value of a panic, if there was one.
func withPanic(err error, panicked any) error {
	if panicked == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("panic in the database: %v, at:\n%s", panicked, debug.Stack()))
}
