package rendezvous

// The LevelDB adapter, an implementation of DB.

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	dberrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

// ErrDatabaseLocked: another process, or another part of this one, has the
// database open.
var ErrDatabaseLocked = errors.New("database is in use")

// LevelDB is a [DB] in a directory of its own. Its methods are safe for concurrent use;
// after Close they fail.
//
// A write reaches the operating system before it returns, so it survives the end of the
// process. It is not forced to the disk, so a power failure may lose the last seconds. Peers
// register again within 12 seconds.
//
// LevelDB itself stops writing after a failed write, for example on a full disk. A write
// that fails therefore reopens the database, at most once a second, and is tried again.
//
// [OpenLevelDB] makes a LevelDB; the zero value is not usable.
type LevelDB struct {
	open func() (*leveldb.DB, error)
	db   atomic.Pointer[leveldb.DB]
	lock chan struct{} // holds a token while db is being reopened or closed

	failures, reopenings logging.Limit // attempts to reopen that failed, and reopenings

	// Guarded by lock.
	closed   bool
	reopened time.Time // when reopening was last tried
}

// reopenInterval is the shortest time between two attempts to reopen a database.
const reopenInterval = time.Second

// OpenLevelDB opens the database in the directory path, and creates it if it does not
// exist. The caller closes it, after the storage over it.
//
// It repairs a corrupt database: it keeps everything readable and logs a warning. If the
// database is open already, the error is [ErrDatabaseLocked].
func OpenLevelDB(path string) (*LevelDB, error) {
	if path == "" {
		return nil, errors.New("open LevelDB: a directory is needed")
	}
	return newLevelDB(func() (*leveldb.DB, error) { return openLevelDB(path) })
}

func newLevelDB(open func() (*leveldb.DB, error)) (*LevelDB, error) {
	db, err := open()
	if err != nil {
		return nil, err
	}
	l := &LevelDB{open: open, lock: make(chan struct{}, 1)}
	l.db.Store(db)
	return l, nil
}

func openLevelDB(path string) (*leveldb.DB, error) {
	db, err := leveldb.OpenFile(path, nil)
	if dberrors.IsCorrupted(err) {
		logging.Log.Warn("database is corrupt; keeping everything that is readable", "path", path, "error", err)
		db, err = leveldb.RecoverFile(path, nil)
	}
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, storage.ErrLocked):
		return nil, fmt.Errorf("open LevelDB %s: %w", path, ErrDatabaseLocked)
	default:
		return nil, fmt.Errorf("open LevelDB %s: %w", path, err)
	}
}

// Put sets the value of a key.
func (l *LevelDB) Put(key, value []byte) error {
	return l.write(func(db *leveldb.DB) error { return db.Put(key, value, nil) })
}

// Delete deletes a key, if it exists.
func (l *LevelDB) Delete(key []byte) error {
	return l.write(func(db *leveldb.DB) error { return db.Delete(key, nil) })
}

// write calls do, and calls it again if it had to reopen the database.
func (l *LevelDB) write(do func(*leveldb.DB) error) error {
	db := l.db.Load()
	err := do(db)
	if err == nil || !l.reopen(db) {
		return err
	}
	return do(l.db.Load())
}

// reopen reopens the database and reports whether to try the write again. It does
// nothing while another goroutine reopens the database, or within reopenInterval of the
// last attempt. Reopening reads the database's journal, so no write is lost.
func (l *LevelDB) reopen(failed *leveldb.DB) bool {
	select {
	case l.lock <- struct{}{}:
		defer func() { <-l.lock }()
	default:
		return false
	}
	if l.db.Load() != failed {
		return true
	}
	if l.closed || time.Since(l.reopened) < reopenInterval {
		return false
	}
	l.reopened = time.Now()
	_ = failed.Close() // releases its files even if it returns an error
	db, err := l.open()
	if err != nil {
		if n, due := l.failures.Due(); due {
			logging.Log.Error("database does not write, and cannot be reopened", "error", err, "times", n)
		}
		return false
	}
	l.db.Store(db)
	if n, due := l.reopenings.Due(); due {
		logging.Log.Warn("database did not write and was reopened", "times", n)
	}
	return true
}

// NewIterator returns an iterator over a snapshot of the keys that begin with prefix.
func (l *LevelDB) NewIterator(prefix []byte) Iterator {
	return l.db.Load().NewIterator(util.BytesPrefix(prefix), nil)
}

// Close closes the database. A second Close does nothing and returns nil.
func (l *LevelDB) Close() error {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	l.closed = true
	if err := l.db.Load().Close(); err != nil && !errors.Is(err, leveldb.ErrClosed) {
		return fmt.Errorf("close LevelDB: %w", err)
	}
	return nil
}
