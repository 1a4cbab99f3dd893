package rendezvous

// The LevelDB adapter, so that nobody has to write it.

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
)

// ErrDatabaseLocked: another process, or another part of this one, has the
// database open.
var ErrDatabaseLocked = errors.New("database is in use")

// LevelDB is a [DB] in a directory of its own. Its methods may be called at the
// same time from many goroutines; after Close they fail.
//
// A write reaches the operating system before it returns, so it survives the
// process being killed. It is not forced to the disk: a power failure may lose the
// last seconds, which for registrations of 20 seconds is nothing that peers do not
// repair by themselves.
//
// After a write has failed, as it does on a full disk, it opens the database anew
// with a later write, for LevelDB itself would not write again.
//
// The zero value is of no use: [OpenLevelDB] makes one.
type LevelDB struct {
	open func() (*leveldb.DB, error)
	db   atomic.Pointer[leveldb.DB]
	turn chan struct{} // holds a token: whoever takes it may open db anew, or close it

	// Guarded by turn.
	closed bool
	tried  time.Time // when it was last opened anew
}

// reopenEvery is how often, at most, a database that does not write is opened anew.
const reopenEvery = time.Second

// OpenLevelDB opens the database in the directory path, which it creates if
// there is none. The caller closes it, after the storage over it.
//
// A corrupt database is repaired: what can be read is kept, and a log line says
// so. A path that is open already fails with [ErrDatabaseLocked].
func OpenLevelDB(path string) (*LevelDB, error) {
	if path == "" {
		return nil, errors.New("opening LevelDB: the path of a directory is needed")
	}
	return newLevelDB(func() (*leveldb.DB, error) { return openLevelDB(path) })
}

func newLevelDB(open func() (*leveldb.DB, error)) (*LevelDB, error) {
	db, err := open()
	if err != nil {
		return nil, err
	}
	l := &LevelDB{open: open, turn: make(chan struct{}, 1)}
	l.db.Store(db)
	l.turn <- struct{}{}
	return l, nil
}

func openLevelDB(path string) (*leveldb.DB, error) {
	db, err := leveldb.OpenFile(path, nil)
	if dberrors.IsCorrupted(err) {
		log.Warn("database is corrupt: keeping what can be read of it", "path", path, "error", err)
		db, err = leveldb.RecoverFile(path, nil)
	}
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, storage.ErrLocked):
		return nil, fmt.Errorf("opening LevelDB %s: %w", path, ErrDatabaseLocked)
	default:
		return nil, fmt.Errorf("opening LevelDB %s: %w", path, err)
	}
}

// Put sets the value of a key.
func (l *LevelDB) Put(key, value []byte) error {
	return l.write(func(db *leveldb.DB) error { return db.Put(key, value, nil) })
}

// Delete deletes a key, if it is there.
func (l *LevelDB) Delete(key []byte) error {
	return l.write(func(db *leveldb.DB) error { return db.Delete(key, nil) })
}

// write writes, and once more where it has to open the database anew for it.
func (l *LevelDB) write(to func(*leveldb.DB) error) error {
	db := l.db.Load()
	err := to(db)
	if err == nil || !l.reopen(db) {
		return err
	}
	return to(l.db.Load())
}

// reopen opens the database anew, unless somebody else is at it or was a moment
// ago, and reports whether it is worth writing again to what is there instead of
// failed. What was written is in the database's journal, which is read again.
func (l *LevelDB) reopen(failed *leveldb.DB) bool {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	default:
		return false
	}
	if l.db.Load() != failed {
		return true
	}
	if l.closed || time.Since(l.tried) < reopenEvery {
		return false
	}
	l.tried = time.Now()
	_ = failed.Close() // it lets go of its files, whatever it says
	db, err := l.open()
	if err != nil {
		log.Error("database does not write, and cannot be opened anew", "error", err)
		return false
	}
	log.Warn("database did not write and was opened anew")
	l.db.Store(db)
	return true
}

// NewIterator walks over the keys that begin with prefix, as they are now.
func (l *LevelDB) NewIterator(prefix []byte) Iterator {
	return l.db.Load().NewIterator(util.BytesPrefix(prefix), nil)
}

// Close closes the database. A second Close does nothing and returns nil.
func (l *LevelDB) Close() error {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	l.closed = true
	if err := l.db.Load().Close(); err != nil && !errors.Is(err, leveldb.ErrClosed) {
		return fmt.Errorf("closing LevelDB: %w", err)
	}
	return nil
}
