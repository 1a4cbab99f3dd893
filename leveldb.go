package rendezvous

// The LevelDB adapter, so that nobody has to write it.

import (
	"errors"
	"fmt"
	"syscall"

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
type LevelDB struct {
	db *leveldb.DB
}

// OpenLevelDB opens the database in the directory path, which it creates if
// there is none. The caller closes it, after the storage over it.
//
// A corrupt database is repaired: what can be read is kept, and a log line says
// so. A path that is open already fails with [ErrDatabaseLocked].
func OpenLevelDB(path string) (*LevelDB, error) {
	db, err := leveldb.OpenFile(path, nil)
	if dberrors.IsCorrupted(err) {
		log.Warn("database is corrupt: keeping what can be read of it", "path", path, "err", err)
		db, err = leveldb.RecoverFile(path, nil)
	}
	switch {
	case err == nil:
		return &LevelDB{db: db}, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, storage.ErrLocked):
		return nil, fmt.Errorf("opening LevelDB %s: %w", path, ErrDatabaseLocked)
	default:
		return nil, fmt.Errorf("opening LevelDB %s: %w", path, err)
	}
}

// Put sets the value of a key.
func (l *LevelDB) Put(key, value []byte) error { return l.db.Put(key, value, nil) }

// Delete deletes a key, if it is there.
func (l *LevelDB) Delete(key []byte) error { return l.db.Delete(key, nil) }

// NewIterator walks over the keys that begin with prefix, as they are now.
func (l *LevelDB) NewIterator(prefix []byte) Iterator {
	return l.db.NewIterator(util.BytesPrefix(prefix), nil)
}

// Close closes the database. A second Close does nothing and returns nil.
func (l *LevelDB) Close() error {
	if err := l.db.Close(); err != nil && !errors.Is(err, leveldb.ErrClosed) {
		return fmt.Errorf("closing LevelDB: %w", err)
	}
	return nil
}
