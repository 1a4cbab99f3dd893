package rendezvous_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/storagetest"
)

// Every storage of this package fulfils the contract. Registrations outlive a storage if
// its files do: the reopened storages show that.
func TestStorages(t *testing.T) {
	for _, row := range []struct {
		name    string
		open    func(t *testing.T, path string) rendezvous.Storage
		durable bool
	}{
		{name: "memory", open: func(*testing.T, string) rendezvous.Storage { return rendezvous.NewMemoryStorage() }},
		{name: "no database", open: func(*testing.T, string) rendezvous.Storage { return rendezvous.NewStorage(nil) }},
		{name: "LevelDB", open: overLevelDB, durable: true},
		{name: "hand-written adapter", open: overHandWritten, durable: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			opts := []storagetest.Option{storagetest.MustPage()}
			if row.durable {
				opts = append(opts, storagetest.Reopen(func(t *testing.T, s rendezvous.Storage) rendezvous.Storage {
					t.Helper()
					disk, ok := s.(onDisk)
					require.True(t, ok)
					require.NoError(t, s.Close())
					return row.open(t, disk.path)
				}))
			}
			storagetest.Run(t, func(t *testing.T) rendezvous.Storage {
				t.Helper()
				return row.open(t, filepath.Join(t.TempDir(), "db"))
			}, opts...)
		})
	}
}

// The suite on the real clock, outside a synctest bubble.
func TestStorageByTheRealClock(t *testing.T) {
	storagetest.Run(t, func(*testing.T) rendezvous.Storage { return rendezvous.NewMemoryStorage() },
		storagetest.MustPage(), storagetest.RealTime(), storagetest.Resolution(time.Millisecond))
}

// onDisk is a storage that owns its database.
type onDisk struct {
	rendezvous.Pager
	path    string
	closeDB func() error
}

func (s onDisk) Close() error {
	if err := s.Pager.Close(); err != nil {
		return err
	}
	return s.closeDB()
}

func overLevelDB(t *testing.T, path string) rendezvous.Storage {
	t.Helper()
	db, err := rendezvous.OpenLevelDB(path)
	require.NoError(t, err)
	return onDisk{rendezvous.NewStorage(db).(rendezvous.Pager), path, db.Close}
}

func overHandWritten(t *testing.T, path string) rendezvous.Storage {
	t.Helper()
	db, err := leveldb.OpenFile(path, nil)
	require.NoError(t, err)
	return onDisk{rendezvous.NewStorage(&handWritten{db}).(rendezvous.Pager), path, func() error {
		if err := db.Close(); err != nil && err != leveldb.ErrClosed { //nolint:errorlint // as goleveldb returns it
			return err
		}
		return nil
	}}
}

// handWritten is an adapter such as users write.
type handWritten struct{ db *leveldb.DB }

func (h *handWritten) Put(k, v []byte) error { return h.db.Put(k, v, nil) }
func (h *handWritten) Delete(k []byte) error { return h.db.Delete(k, nil) }
func (h *handWritten) NewIterator(prefix []byte) rendezvous.Iterator {
	return h.db.NewIterator(util.BytesPrefix(prefix), nil)
}
