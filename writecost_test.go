package rendezvous

import (
	"fmt"
	"os"
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

// For forty minutes, peers register every ten seconds, and each minute new peers replace a
// tenth of them. LevelDB merges its tables every 16 minutes. They do not become larger in the
// second half of the time than they were in the first.
// docs/storage.md describes what is written.
func TestChurnLeavesTheDatabaseSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // LevelDB's goroutines end after its Close
		const peers, every, rounds, envelope = 500, 10 * time.Second, 240, 224
		path := filepath.Join(t.TempDir(), "db")
		level, err := OpenLevelDB(path)
		require.NoError(t, err)
		db := &countingDB{DB: level}
		s := NewStorage(db)

		gone, refreshes := 0, 0
		var largest [2]int64 // in each half
		for round := range rounds {
			for i := range peers {
				r := testRecord("/waku/2/default", fmt.Sprintf("%038d", gone+i), 20*time.Second+grace)
				r.Envelope = append(r.Envelope, make([]byte, envelope-len(r.Envelope))...)
				require.NoError(t, s.Add(t.Context(), r, Quota{}))
				refreshes++
			}
			time.Sleep(every)
			if round%6 == 5 {
				gone += peers / 10
				synctest.Wait() // LevelDB may be at work
				half := round / (rounds / 2)
				largest[half] = max(largest[half], tablesSize(t, path))
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
			"tables of %d kB at most in the first half, of %d kB in the second",
			refreshes, perRefresh, envelope, db.deletes, largest[0]>>10, largest[1]>>10)
		require.Less(t, perRefresh, envelope*1.65) // key, times, origin, place in the order, checksum
		require.Positive(t, largest[0])
		require.LessOrEqual(t, float64(largest[1]), 1.5*float64(largest[0]), "the database grows")
	})
}

// tablesSize returns the size of the tables of a LevelDB database. Beside them, it has one journal
// or, until it comes to write the first one's table, two.
func tablesSize(t *testing.T, path string) int64 {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(path, "*.ldb"))
	require.NoError(t, err)
	var total int64
	for _, p := range paths {
		file, err := os.Stat(p)
		require.NoError(t, err)
		total += file.Size()
	}
	return total
}
