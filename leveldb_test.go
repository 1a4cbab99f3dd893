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

// disk is a storage for LevelDB that can be full.
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
		n, _ := f.Writer.Write(b[:len(b)/2]) // a full disk takes a part of a write
		return n, errFull
	}
	return f.Writer.Write(b)
}

// TestLevelDBWritesAgain: once the disk has room again, the database writes again and
// still has all acknowledged writes.
func TestLevelDBWritesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{Storage: storage.NewMemStorage()}
		l, err := newLevelDB(func() (*leveldb.DB, error) { return leveldb.Open(d, nil) })
		require.NoError(t, err)
		require.NoError(t, l.Put([]byte("before"), []byte("1")))

		d.full = true
		require.ErrorIs(t, l.Put([]byte("during"), []byte("2")), errFull)
		require.Error(t, l.Put([]byte("during"), []byte("2")), "fails at once, without an attempt to write")
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

// levelDBOver returns a LevelDB over an open database.
func levelDBOver(t testing.TB, db *leveldb.DB) *LevelDB {
	t.Helper()
	l, err := newLevelDB(func() (*leveldb.DB, error) { return db, nil })
	require.NoError(t, err)
	return l
}
