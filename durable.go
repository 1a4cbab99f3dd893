package rendezvous

// NewStorage: the memory storage, with a database behind it for what must outlive
// the process.

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// NewStorage returns a storage that answers from memory and writes through to db,
// so that what it acknowledged survives the process. It begins with what db holds:
// registrations that have ended or cannot be read are deleted, with one log line
// that counts them, and keys that are not a storage's own are left alone. Whatever
// fails is logged, too, and the storage begins with what it could read.
//
// A registration that db does not take is not made, and the one before it stays.
// What db has taken it must not lose when the process is killed; whether it
// survives a power failure as well is up to db. Nothing here waits for a disk but
// Add, Close and this function.
//
// db stays the caller's to close, after the storage. One storage at a time owns a
// db; the last one made does, and those before it no longer delete from it.
// With a nil db, NewStorage is [NewMemoryStorage].
func NewStorage(db DB) Storage {
	if unopened, is := db.(*LevelDB); db == nil || is && unopened == nil {
		log.Error("no database given: registrations are kept in memory only")
		return NewMemoryStorage()
	}
	return newDurableStorage(db, time.Now)
}

type durableStorage struct {
	*memoryStorage
	db DB
	// writing is held across each change and its write to db, so that both
	// are made in the same order. It is a lock that one can stop waiting for.
	writing chan struct{}
	closing chan struct{}
	close   sync.Once

	// writes takes what is to be added to the writer, of which there is one while
	// writer is set; that is guarded by writing.
	writes  chan addition
	writer  bool
	writers sync.WaitGroup

	owner []byte // what ownerKey holds for as long as db is ours

	failures logLimit // of writes

	// ended are the registrations that have left the index and may be in db
	// still; guarded by mu.
	ended []ended
}

// addition is an Add on its way to the database.
type addition struct {
	record Record
	quota  Quota
	done   chan<- error // has room for one
}

// writerLingers is how long a writer waits for something to write before it ends.
const writerLingers = time.Second

type ended struct {
	namespace string
	peer      peer.ID
}

func newDurableStorage(db DB, now func() time.Time) *durableStorage {
	s := &durableStorage{
		memoryStorage: newMemoryStorage(now),
		db:            db,
		writing:       make(chan struct{}, 1),
		closing:       make(chan struct{}),
		writes:        make(chan addition),
	}
	s.evict = s.evictAll
	s.index.ended = func(r *registration) {
		s.ended = append(s.ended, ended{r.namespace.name, r.registrant.id})
	}
	s.writing <- struct{}{} // the first that is loaded may end before the last is
	defer s.unlock()
	s.takeOver()
	s.load()
	return s
}

func (s *durableStorage) Add(ctx context.Context, r Record, q Quota) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("adding a registration: %w", err)
	}
	if ctx.Done() == nil {
		defer s.unlock()
		return s.add(r, q)
	}
	// A DB cannot be told to give up. The envelope is the caller's again when
	// this returns, so what may outlast it has a copy.
	r.Envelope = bytes.Clone(r.Envelope)
	done := make(chan error, 1)
	if !s.writer {
		s.writer = true
		s.writers.Go(s.write)
	}
	select { // nobody else has a turn, so the writer waits for this
	case s.writes <- addition{r, q, done}:
	case <-s.closing:
		s.unlock()
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the database to take a registration: %w", ctx.Err())
	}
}

// write makes additions, for as long as there are more of them every now and then: a
// goroutine for each would have to grow its stack each time, which is a fifth of what
// a refresh costs over LevelDB. Whoever hands one over has the turn to write, which
// then is the writer's.
func (s *durableStorage) write() {
	idle := time.NewTimer(writerLingers)
	defer idle.Stop()
	for {
		select {
		case a := <-s.writes:
			a.done <- s.add(a.record, a.quota)
			s.unlock()
			idle.Reset(writerLingers)
		case <-idle.C:
			if s.retire() {
				return
			}
			idle.Reset(writerLingers)
		case <-s.closing:
			return
		}
	}
}

// retire ends the writer, unless somebody has a turn and may be about to need it.
func (s *durableStorage) retire() bool {
	select {
	case s.writing <- struct{}{}:
		defer s.unlock()
		s.writer = false
		return true
	default:
		return false
	}
}

// add writes r and then shows it. Who adds holds writing, so what was admitted is
// admitted still when the write is done; nor does anybody close the storage.
func (s *durableStorage) add(r Record, q Quota) error {
	s.mu.Lock()
	_, err := s.admit(&r, q, s.now())
	s.mu.Unlock()
	if err != nil {
		return err
	}
	key := recordKey(r.Namespace, r.Peer)
	if err := s.noteWrite(s.db.Put(key, recordValue(key, r, s.now()))); err != nil {
		return fmt.Errorf("writing a registration to the database: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memoryStorage.add(&r, Quota{})
}

// lock waits for its turn to write.
func (s *durableStorage) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

func (s *durableStorage) unlock() { <-s.writing }

// Close waits for a write that is under way. The DB stays open.
func (s *durableStorage) Close() error {
	s.close.Do(func() { close(s.closing) })
	s.writing <- struct{}{}
	defer s.unlock()
	s.writers.Wait()
	return s.memoryStorage.Close()
}

// evictAll takes away what has expired from memory and from db.
func (s *durableStorage) evictAll() {
	for more := true; more; {
		if s.lock(context.Background()) != nil {
			return
		}
		more = s.evictSome()
		s.deleteEnded()
		s.unlock()
	}
}

// deleteEnded deletes from db what has left the index and not come back. The
// caller holds writing, so nothing comes back meanwhile.
func (s *durableStorage) deleteEnded() {
	gone := s.takeEnded()
	if len(gone) == 0 || !s.owns() {
		return
	}
	for _, e := range gone {
		_ = s.noteWrite(s.db.Delete(recordKey(e.namespace, e.peer)))
	}
}

func (s *durableStorage) takeEnded() []ended {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	gone := s.ended[:0]
	for _, e := range s.ended {
		if s.index.find(e.namespace, e.peer) == nil {
			gone = append(gone, e)
		}
	}
	s.ended = nil
	return gone
}

// takeOver marks db as this storage's. A storage that was never closed may be at
// work on it still, and would delete what peers have registered again with this one.
func (s *durableStorage) takeOver() {
	s.owner = []byte(rand.Text())
	if err := s.noteWrite(s.db.Put([]byte(ownerKey), s.owner)); err != nil {
		s.owner = s.readOwner()
	}
}

func (s *durableStorage) owns() bool { return bytes.Equal(s.owner, s.readOwner()) }

// readOwner returns whose db is, or nil if it does not say.
func (s *durableStorage) readOwner() []byte {
	it := s.db.NewIterator([]byte(ownerKey))
	defer it.Release()
	for it.Next() {
		if string(it.Key()) == ownerKey {
			return bytes.Clone(it.Value())
		}
	}
	return nil
}

// noteWrite passes on the error of a write, and logs it.
func (s *durableStorage) noteWrite(err error) error {
	if err == nil {
		return nil
	}
	if n, due := s.failures.due(); due {
		log.Error("database does not take writes; what it does not take is not registered", "error", err, "times", n)
	}
	return err
}

// load fills the index from db.
func (s *durableStorage) load() {
	now := s.now()
	var drop [][]byte
	loaded, expired, unreadable := 0, 0, 0
	err := s.each(recordPrefix, func(key, value []byte) {
		r, err := parseRecord(key, value, now)
		switch {
		case err != nil:
			unreadable++
			drop = append(drop, bytes.Clone(key))
		case !r.Deadline.After(now):
			expired++
			drop = append(drop, bytes.Clone(key))
		default:
			loaded++
			s.mu.Lock()
			_ = s.memoryStorage.add(&r, Quota{}) // it is not closed, and without a quota all may
			s.mu.Unlock()
		}
	})
	for _, key := range drop {
		_ = s.noteWrite(s.db.Delete(key))
	}
	if err != nil {
		log.Error("reading registrations from the database failed half-way", "loaded", loaded, "error", err)
	}
	if len(drop) > 0 {
		log.Warn("dropped registrations from the database",
			"expired", expired, "unreadable", unreadable, "loaded", loaded)
	}
}

// each calls f for every key that begins with prefix. An iterator of somebody
// else's may well pay no attention to the prefix.
func (s *durableStorage) each(prefix string, f func(key, value []byte)) error {
	it := s.db.NewIterator([]byte(prefix))
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
