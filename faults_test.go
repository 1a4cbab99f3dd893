package rendezvous

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"

	"github.com/status-im/go-waku-rendezvous/internal/dbformat"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/pb"
)

var errDiskFull = errors.New("no space left on device")

// faultyDB is a database in memory with the faults that a test sets.
type faultyDB struct {
	mu      sync.Mutex
	entries map[string][]byte
	put     func(key []byte) error // called before each Put, without the lock
	delete  func(key []byte) error
	next    error // iterators return it after one key
	deletes int
	ignore  bool // iterators ignore their prefix
}

func newFaultyDB() *faultyDB { return &faultyDB{entries: make(map[string][]byte)} }

func (d *faultyDB) Put(k, v []byte) error {
	d.mu.Lock()
	fault := d.put
	d.mu.Unlock()
	if fault != nil {
		if err := fault(k); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[string(k)] = bytes.Clone(v)
	return nil
}

func (d *faultyDB) Delete(k []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deletes++
	if d.delete != nil {
		if err := d.delete(k); err != nil {
			return err
		}
	}
	delete(d.entries, string(k))
	return nil
}

func (d *faultyDB) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *faultyDB) keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.entries))
}

// records returns the keys of registrations.
func (d *faultyDB) records() []string {
	return slices.DeleteFunc(d.keys(), func(k string) bool { return !strings.HasPrefix(k, dbformat.Prefix) })
}

func (d *faultyDB) NewIterator(prefix []byte) Iterator {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := &faultyIterator{db: d, entries: maps.Clone(d.entries), at: -1, err: d.next}
	for _, k := range slices.Sorted(maps.Keys(d.entries)) {
		if d.ignore || strings.HasPrefix(k, string(prefix)) {
			it.keys = append(it.keys, k)
		}
	}
	return it
}

// faultyIterator has the methods that the storage uses.
type faultyIterator struct {
	Iterator
	db      *faultyDB
	keys    []string
	entries map[string][]byte
	at      int
	err     error
}

func (i *faultyIterator) Release() {}
func (i *faultyIterator) Next() bool {
	i.at++
	return i.at < len(i.keys) && (i.err == nil || i.at < 1)
}
func (i *faultyIterator) Key() []byte   { return []byte(i.keys[i.at]) }
func (i *faultyIterator) Value() []byte { return i.entries[i.keys[i.at]] }
func (i *faultyIterator) Error() error  { return i.err }

// captureLog redirects the log to the returned buffer until the test ends.
func captureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	old := logging.Log
	logging.Log = slog.New(slog.NewTextHandler(&buf, nil))
	t.Cleanup(func() { logging.Log = old })
	return &buf
}

func envelopes(t *testing.T, s Storage, ns string) []string {
	t.Helper()
	got, err := s.Sample(t.Context(), ns, 1000, 0)
	require.NoError(t, err)
	var all []string
	for _, r := range got {
		all = append(all, string(r.Envelope))
	}
	slices.Sort(all)
	return all
}

func TestFullDiskRefusesAndTheRestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := captureLog(t)
		db := newFaultyDB()
		s := NewStorage(db)
		defer s.Close()
		kept := testRecord("ns", "a", 20*time.Second)
		require.NoError(t, s.Add(t.Context(), kept, Quota{}))
		db.set(func() { db.put = func([]byte) error { return errDiskFull } })
		for range 1000 {
			err := s.Add(t.Context(), testRecord("ns", "b", 20*time.Second), Quota{})
			require.ErrorIs(t, err, errDiskFull)
			changed := testRecord("ns", "a", 10*time.Second)
			changed.Envelope = []byte("changed")
			require.ErrorIs(t, s.Add(t.Context(), changed, Quota{}), errDiskFull)
		}
		require.Equal(t, []string{"envelope of a"}, envelopes(t, s, "ns"), "a refused refresh changes nothing")
		require.Equal(t, 1, strings.Count(logged.String(), "\n"), "a line for each failure fills the disk:\n%s", logged)
		time.Sleep(15 * time.Second)
		require.Equal(t, []string{"envelope of a"}, envelopes(t, s, "ns"))
		db.set(func() { db.put = nil })
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "b", 20*time.Second), Quota{PerPeer: 1, Total: 2}))
		require.Len(t, envelopes(t, s, "ns"), 2)
	})
}

func TestFailingDeletesKeepNothingAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		captureLog(t)
		db := newFaultyDB()
		db.delete = func([]byte) error { return errDiskFull }
		s := NewStorage(db)
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 20*time.Second), Quota{}))
		time.Sleep(25 * time.Second)
		counts, err := s.Counts(t.Context())
		require.NoError(t, err)
		require.Zero(t, counts)
		require.Len(t, db.records(), 1)
		require.NoError(t, s.Close())
		db.set(func() { db.delete = nil })
		s = NewStorage(db)
		defer s.Close()
		require.Empty(t, envelopes(t, s, "ns"))
		require.Empty(t, db.records(), "the next start deletes the record")
	})
}

func TestDatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFaultyDB()
		s := NewStorage(db)
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 20*time.Second), Quota{}))
		release := make(chan struct{})
		db.set(func() { db.put = func([]byte) error { <-release; return nil } })
		hanging := make(chan error)
		go func() { hanging <- s.Add(t.Context(), testRecord("ns", "h", 20*time.Second), Quota{}) }()
		synctest.Wait()
		for i := range 3 { // each waits for its turn as long as its context allows
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.ErrorIs(t, s.Add(ctx, testRecord("ns", fmt.Sprint(i), 20*time.Second), Quota{}), context.DeadlineExceeded)
			cancel()
		}
		require.Equal(t, []string{"envelope of a"}, envelopes(t, s, "ns"), "reading does not wait")
		closed := make(chan error)
		waiting := make(chan error)
		go func() { waiting <- s.Add(t.Context(), testRecord("ns", "w", time.Minute), Quota{}) }()
		synctest.Wait()
		go func() { closed <- s.Close() }()
		require.ErrorIs(t, <-waiting, ErrClosed)
		close(release)
		require.NoError(t, <-hanging, "the write began before the storage was closed")
		require.NoError(t, <-closed)
		s = NewStorage(db)
		defer s.Close()
		require.Equal(t, []string{"envelope of a", "envelope of h"}, envelopes(t, s, "ns"))
	})
}

func TestIteratorThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := captureLog(t)
		db := newFaultyDB()
		s := NewStorage(db)
		for i := range 3 {
			require.NoError(t, s.Add(t.Context(), testRecord("ns", fmt.Sprint(i), 20*time.Second), Quota{}))
		}
		require.NoError(t, s.Close())
		db.set(func() { db.next = errors.New("bad sector") })
		s = NewStorage(db)
		defer s.Close()
		require.Len(t, envelopes(t, s, "ns"), 1)
		require.Contains(t, logged.String(), "bad sector")
		require.Len(t, db.records(), 3, "unread records are not deleted")
	})
}

// TestDatabaseThatPanics: a panic in a database, wherever it is, is an error of the request
// or of the load, and is logged. It ends no other goroutine, and the storage goes on.
func TestDatabaseThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := captureLog(t)
		db := newFaultyDB()
		s := NewStorage(db)
		defer func() { require.NoError(t, s.Close()) }()
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 2*time.Second), Quota{}))
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "b", time.Minute), Quota{}))

		db.set(func() { db.put = func([]byte) error { panic("a bug in Put") } })
		err := s.Add(t.Context(), testRecord("ns", "c", time.Minute), Quota{})
		require.ErrorContains(t, err, "a bug in Put")
		refused, reason := refusalOf(storageError{err})
		require.Equal(t, pb.Message_E_INTERNAL_ERROR, refused.Status)
		require.NotContains(t, refused.Text, "bug")
		require.Equal(t, ReasonInternalError, reason)
		require.Equal(t, []string{"envelope of a", "envelope of b"}, envelopes(t, s, "ns"))

		db.set(func() { db.put, db.delete = nil, func([]byte) error { panic("a bug in Delete") } })
		time.Sleep(time.Minute / 2) // a ends
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "d", time.Minute), Quota{}))
		require.Equal(t, []string{"envelope of b", "envelope of d"}, envelopes(t, s, "ns"))
		require.Contains(t, logged.String(), "a bug in Put")
	})
}

// TestIteratorThatPanics: what was read before the panic is loaded, and nothing is deleted.
func TestIteratorThatPanics(t *testing.T) {
	for _, at := range []string{"NewIterator", "Next", "Key", "Value", "Release", "Error"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logged := captureLog(t)
				db := newFaultyDB()
				s := NewStorage(db)
				for i := range 3 {
					require.NoError(t, s.Add(t.Context(), testRecord("ns", fmt.Sprint(i), time.Minute), Quota{}))
				}
				require.NoError(t, s.Close())
				s = NewStorage(panickingDB{db, at})
				defer func() { require.NoError(t, s.Close()) }()
				require.Contains(t, logged.String(), "a bug in "+at)
				require.NoError(t, s.Add(t.Context(), testRecord("ns", "new", time.Minute), Quota{}))
				require.Contains(t, envelopes(t, s, "ns"), "envelope of new")
				require.Len(t, db.records(), 4)
			})
		})
	}
}

// panickingDB has iterators that panic in one of their methods.
type panickingDB struct {
	*faultyDB
	at string
}

func (d panickingDB) NewIterator(prefix []byte) Iterator {
	it := &panickingIterator{d.faultyDB.NewIterator(prefix).(*faultyIterator), d.at}
	it.panic("NewIterator")
	return it
}

type panickingIterator struct {
	*faultyIterator
	at string
}

func (i *panickingIterator) panic(at string) {
	if i.at == at {
		panic("a bug in " + at)
	}
}

func (i *panickingIterator) Release()      { i.panic("Release"); i.faultyIterator.Release() }
func (i *panickingIterator) Next() bool    { i.panic("Next"); return i.faultyIterator.Next() }
func (i *panickingIterator) Key() []byte   { i.panic("Key"); return i.faultyIterator.Key() }
func (i *panickingIterator) Value() []byte { i.panic("Value"); return i.faultyIterator.Value() }
func (i *panickingIterator) Error() error  { i.panic("Error"); return i.faultyIterator.Error() }

// TestOldFormat: entries of the format before this one are deleted, with one log line.
func TestOldFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := captureLog(t)
		db := newFaultyDB()
		for i := range 3 {
			require.NoError(t, db.Put(fmt.Append(nil, dbformat.OldPrefix, "\x02ns", i), make([]byte, 40)))
		}
		s := NewStorage(db)
		defer func() { require.NoError(t, s.Close()) }()
		require.Empty(t, db.keys())
		require.Empty(t, envelopes(t, s, ""))
		require.Equal(t, 1, strings.Count(logged.String(), "old_format=3"), logged)
	})
}

// TestOriginsSurvive: a registration counts for its origin after the database was opened
// again, also if it has moved there.
func TestOriginsSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, q := newFaultyDB(), Quota{PerOrigin: 1}
		from := func(p, origin string) Record {
			r := testRecord("ns", p, time.Minute)
			r.Origin = netip.MustParseAddr(origin)
			return r
		}
		s := NewStorage(db)
		require.NoError(t, s.Add(t.Context(), from("a", "192.0.2.1"), q))
		require.NoError(t, s.Add(t.Context(), from("b", "2001:db8::1"), q))
		require.NoError(t, s.Add(t.Context(), from("c", "192.0.2.3"), q))
		require.NoError(t, s.Add(t.Context(), from("c", "192.0.2.4"), q)) // it moves
		require.NoError(t, s.Add(t.Context(), from("b", "192.0.2.1"), q)) // no room: it does not
		require.NoError(t, s.Close())
		s = NewStorage(db)
		defer func() { require.NoError(t, s.Close()) }()
		for _, taken := range []string{"192.0.2.1", "2001:db8::2", "192.0.2.4"} {
			require.ErrorIs(t, s.Add(t.Context(), from("d", taken), q), ErrOriginLimit, taken)
		}
		require.NoError(t, s.Add(t.Context(), from("d", "192.0.2.3"), q))
	})
}

func TestDatabaseWithAnotherProgramsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := captureLog(t)
		db := newFaultyDB()
		db.ignore = true
		others := []string{"", "a", "go-waku-rendezvous/", "go-waku-rendezvous/4/r", "go-waku-rendezvous/10", "zzz"}
		for _, k := range others {
			require.NoError(t, db.Put([]byte(k), []byte("theirs")))
		}
		s := NewStorage(db)
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 20*time.Second), Quota{}))
		require.NoError(t, s.Close())
		s = NewStorage(db)
		defer s.Close()
		require.Equal(t, []string{"envelope of a"}, envelopes(t, s, ""))
		time.Sleep(25 * time.Second)
		require.Empty(t, db.records())
		for _, k := range others {
			require.Contains(t, db.keys(), k)
		}
		require.Empty(t, logged.String())
	})
}

// A record with one wrong bit, or without its beginning or end, is not served.
func TestDamagedRecordsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := newFaultyDB()
		s := NewStorage(good)
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 20*time.Second), Quota{}))
		require.NoError(t, s.Close())
		key := good.records()[0]
		value := good.entries[key]
		var damaged [][2]string
		for i := range len(value) * 8 {
			v := bytes.Clone(value)
			v[i/8] ^= 1 << (i % 8)
			damaged = append(damaged, [2]string{key, string(v)}, [2]string{key, string(value[:i/8])})
		}
		for i := len(dbformat.Prefix) * 8; i < len(key)*8; i++ {
			k := []byte(key)
			k[i/8] ^= 1 << (i % 8)
			damaged = append(damaged, [2]string{string(k), string(value)}, [2]string{key[:i/8], string(value)})
		}
		logged := captureLog(t)
		for _, d := range damaged {
			db := newFaultyDB()
			db.entries[d[0]] = []byte(d[1])
			logged.Reset()
			s := NewStorage(db)
			require.Empty(t, envelopes(t, s, ""), "served %q: %q", d[0], d[1])
			require.NoError(t, s.Close())
			require.Empty(t, db.records())
			require.Contains(t, logged.String(), "unreadable=1")
			require.Equal(t, 1, strings.Count(logged.String(), "\n"))
		}
	})
}

// twoClocks is a clock with a wall time that moves independently of its monotonic time.
// (The clock of a synctest bubble has wall time only.)
type twoClocks struct {
	start          time.Time
	passed, jumped atomic.Int64 // nanoseconds
}

func (c *twoClocks) now() time.Time {
	t := c.start.Add(time.Duration(c.passed.Load()))
	// The layout of time.Time with a monotonic reading: a flag, 33 bits of
	// seconds, 30 bits of nanoseconds.
	*(*uint64)(unsafe.Pointer(&t)) += uint64(c.jumped.Load()/int64(time.Second)) << 30
	return t
}

func TestWallClockJumps(t *testing.T) {
	for _, by := range []time.Duration{-30 * 365 * 24 * time.Hour, -time.Hour, time.Hour, 30 * 365 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			db := newFaultyDB()
			clock := &twoClocks{start: time.Now()}
			s := newDurableStorage(db, clock.now)
			add := func(p string) {
				r := testRecord("ns", p, 0)
				r.Deadline = clock.now().Add(20 * time.Second)
				require.NoError(t, s.Add(t.Context(), r, Quota{}))
			}
			add("before")
			clock.jumped.Store(int64(by))
			require.Equal(t, by, clock.now().Round(0).Sub(clock.start.Round(0)), "the clock of this test")
			clock.passed.Store(int64(10 * time.Second))
			require.Equal(t, 10*time.Second, clock.now().Sub(clock.start), "the clock of this test")
			add("after")
			clock.passed.Store(int64(20*time.Second - 1))
			require.Len(t, envelopes(t, s, "ns"), 2, "nothing ends early")
			clock.passed.Store(int64(20 * time.Second))
			require.Equal(t, []string{"envelope of after"}, envelopes(t, s, "ns"), "nor late")
			clock.passed.Store(int64(20*time.Second + 100*time.Millisecond)) // its tick is over
			s.evict()
			require.Len(t, db.records(), 1)
			require.NoError(t, s.Close())

			// After a restart only the wall clock counts. If it was set back,
			// registrations still live no longer than their TTL.
			clock = &twoClocks{start: clock.now().Add(-24 * time.Hour).Round(0)}
			s = newDurableStorage(db, clock.now)
			require.Len(t, envelopes(t, s, "ns"), 1)
			clock.passed.Store(int64(20 * time.Second))
			require.Empty(t, envelopes(t, s, "ns"))
			clock.passed.Store(int64(20*time.Second + 100*time.Millisecond))
			s.evict()
			require.Empty(t, db.records())
			require.NoError(t, s.Close())
		})
	}
}

func TestOpenLevelDBSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	db, err := OpenLevelDB(path)
	require.NoError(t, err)
	_, err = OpenLevelDB(path)
	require.ErrorIs(t, err, ErrDatabaseLocked)
	require.ErrorContains(t, err, path)
	require.NoError(t, db.Close())
	require.NoError(t, db.Close())

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("not a directory"), 0o600))
	_, err = OpenLevelDB(file)
	require.ErrorContains(t, err, "not a directory")
	_, err = OpenLevelDB(filepath.Join(file, "below"))
	require.Error(t, err)

	require.ErrorIs(t, db.Put([]byte("k"), nil), leveldb.ErrClosed)
	require.ErrorIs(t, db.Delete([]byte("k")), leveldb.ErrClosed)
	it := db.NewIterator(nil)
	require.False(t, it.Next())
	it.Release()
	captureLog(t)
	s := NewStorage(db)
	require.ErrorIs(t, s.Add(t.Context(), testRecord("ns", "a", time.Minute), Quota{}), leveldb.ErrClosed)
	require.NoError(t, s.Close())
}

// Whatever is wrong with the files, either opening fails with an error or every served
// registration was registered.
func TestDamagedFiles(t *testing.T) {
	pristine := filepath.Join(t.TempDir(), "db")
	fillDatabase(t, pristine)
	files, err := os.ReadDir(pristine)
	require.NoError(t, err)
	damages := map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"a byte":    func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b },
		"garbage":   func(b []byte) []byte { return bytes.Repeat([]byte("garbage"), len(b)/7+1) },
		"missing":   nil,
	}
	logged := captureLog(t)
	for _, f := range files {
		for name, damage := range damages {
			t.Run(f.Name()+" "+name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "db")
				require.NoError(t, os.CopyFS(path, os.DirFS(pristine)))
				at := filepath.Join(path, f.Name())
				content, err := os.ReadFile(at)
				require.NoError(t, err)
				switch {
				case damage == nil:
					require.NoError(t, os.Remove(at))
				case len(content) > 0:
					require.NoError(t, os.WriteFile(at, damage(content), 0o600))
				}
				logged.Reset()
				expectNoGarbage(t, path, logged)
			})
		}
	}
}

const filled = 2000

func fillDatabase(t *testing.T, path string) {
	t.Helper()
	for range 2 { // so that there is a table and a log
		db, err := OpenLevelDB(path)
		require.NoError(t, err)
		s := NewStorage(db)
		for i := range filled {
			require.NoError(t, s.Add(t.Context(), testRecord("ns", fmt.Sprint(i), time.Hour), Quota{}))
		}
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	}
}

func expectNoGarbage(t *testing.T, path string, logged *bytes.Buffer) {
	t.Helper()
	db, err := OpenLevelDB(path)
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	s := NewStorage(db)
	got, err := s.Sample(t.Context(), "ns", 2*filled, 0)
	require.NoError(t, err)
	for _, r := range got {
		require.Equal(t, "envelope of "+string(r.Peer), string(r.Envelope))
	}
	require.NoError(t, s.Add(t.Context(), testRecord("ns", "new", time.Minute), Quota{}), "the storage still works")
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())
	t.Logf("%d of %d left; logged: %s", len(got), filled, logged)
}
