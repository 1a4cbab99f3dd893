package rendezvous

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// countingDB counts the writes to a database.
type countingDB struct {
	DB
	puts, deletes, bytes int
}

func (d *countingDB) Put(k, v []byte) error {
	d.puts++
	d.bytes += len(k) + len(v)
	return d.DB.Put(k, v)
}

func (d *countingDB) Delete(k []byte) error {
	d.deletes++
	d.bytes += len(k)
	return d.DB.Delete(k)
}

// For an hour, peers register every ten seconds, and each minute new peers replace a tenth
// of them. The database on disk does not become larger than it was after a few minutes.
// docs/storage.md describes what is written.
func TestChurnLeavesTheDatabaseSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // LevelDB's goroutines end after its Close
		const peers, every, envelope = 500, 10 * time.Second, 224
		path := filepath.Join(t.TempDir(), "db")
		level, err := OpenLevelDB(path)
		require.NoError(t, err)
		db := &countingDB{DB: level}
		s := NewStorage(db)

		gone, refreshes, largest := 0, 0, int64(0)
		var early int64
		for round := range int(time.Hour / every) {
			for i := range peers {
				r := testRecord("/waku/2/default", fmt.Sprintf("%038d", gone+i), 20*time.Second+grace)
				r.Envelope = append(r.Envelope, make([]byte, envelope-len(r.Envelope))...)
				require.NoError(t, s.Add(t.Context(), r, Quota{}))
				refreshes++
			}
			time.Sleep(every)
			if round%6 == 5 {
				gone += peers / 10
				size := diskUsage(t, path)
				if largest = max(largest, size); round < 60 {
					early = largest
				}
			}
		}
		time.Sleep(30 * time.Second)
		it := level.NewIterator(nil)
		keys := 0
		for it.Next() {
			keys++
		}
		it.Release()
		require.Zero(t, keys, "all registrations have ended")
		require.NoError(t, s.Close())
		require.NoError(t, level.Close())

		require.Equal(t, refreshes, db.puts, "an Add is one Put")
		perRefresh := float64(db.bytes) / float64(refreshes)
		t.Logf("%d registrations: %.0f bytes written for each, with envelopes of %d; %d deletes; "+
			"on the disk %d kB at most, %d kB in the first ten minutes",
			refreshes, perRefresh, envelope, db.deletes, largest>>10, early>>10)
		require.Less(t, perRefresh, envelope*1.65) // key, times, origin, place in the order, checksum
		require.LessOrEqual(t, largest, 2*early, "the database grows")
	})
}

func diskUsage(t *testing.T, path string) int64 {
	t.Helper()
	var total int64
	require.NoError(t, filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil { // LevelDB may delete a file at any time
			total += info.Size()
		}
		return nil
	}))
	return total
}
