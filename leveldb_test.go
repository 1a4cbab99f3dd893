package rendezvous

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

var errFull = errors.New("no space left on device")

// disk is files for LevelDB that can be full.
type disk struct {
	storage.Storage
	full bool
}

func (d *disk) Create(fd storage.FileDesc) (storage.Writer, error) {
	if d.full {
		return nil, errFull
	}
	w, err := d.Storage.Create(fd)
	return &file{w, d}, err
}

type file struct {
	storage.Writer
	disk *disk
}

func (f *file) Write(b []byte) (int, error) {
	if f.disk.full {
		n, _ := f.Writer.Write(b[:len(b)/2]) // a disk fills up in the middle of something
		return n, errFull
	}
	return f.Writer.Write(b)
}

// TestLevelDBWritesAgain: once there is room on the disk again, a database writes
// again, and has lost nothing that it took.
func TestLevelDBWritesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{Storage: storage.NewMemStorage()}
		l, err := newLevelDB(func() (*leveldb.DB, error) { return leveldb.Open(d, nil) })
		require.NoError(t, err)
		require.NoError(t, l.Put([]byte("before"), []byte("1")))

		d.full = true
		require.ErrorIs(t, l.Put([]byte("during"), []byte("2")), errFull)
		require.Error(t, l.Put([]byte("during"), []byte("2")), "at once, it is not even tried")
		time.Sleep(reopenInterval)
		require.Error(t, l.Delete([]byte("before")), "still full")

		d.full = false
		time.Sleep(reopenInterval)
		require.NoError(t, l.Put([]byte("after"), []byte("3")))
		var keys []string
		it := l.NewIterator(nil)
		for it.Next() {
			keys = append(keys, string(it.Key()))
		}
		it.Release()
		require.Equal(t, []string{"after", "before"}, keys)

		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		time.Sleep(reopenInterval)
		require.Error(t, l.Put([]byte("k"), nil), "closed for good")
	})
}

// levelDBOver is a LevelDB of a database that is open already.
func levelDBOver(t testing.TB, db *leveldb.DB) *LevelDB {
	t.Helper()
	l, err := newLevelDB(func() (*leveldb.DB, error) { return db, nil })
	require.NoError(t, err)
	return l
}
