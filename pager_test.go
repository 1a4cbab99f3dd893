package rendezvous

// Storages that page, for tests.

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// pagingStorage is testStorage as a [Pager].
func pagingStorage(t testing.TB) Pager {
	t.Helper()
	return testStorage(t).(Pager)
}

// levelDBPager returns a Pager over a LevelDB. end closes both.
func levelDBPager(t testing.TB, dir string) (s Pager, end func()) {
	t.Helper()
	db, err := OpenLevelDB(filepath.Join(dir, "db"))
	require.NoError(t, err)
	s = NewStorage(db).(Pager)
	return s, func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	}
}

// plainPager is a Pager without the optional methods of the memory storage.
type plainPager struct{ Pager }

// eachPager runs a test on storages that page.
func eachPager(t *testing.T, test func(t *testing.T, s Pager)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, pagingStorage(t)) })
	t.Run("LevelDB", func(t *testing.T) {
		s, end := levelDBPager(t, t.TempDir())
		defer end()
		test(t, s)
	})
	t.Run("plain", func(t *testing.T) { test(t, plainPager{pagingStorage(t)}) })
}

// failingPager is a Pager that cannot page, because of err.
type failingPager struct {
	Pager
	err error
}

func (s failingPager) Page(context.Context, string, RecordKind, Cursor, int, int) ([]Record, Cursor, error) {
	return nil, "", s.err
}

// failingRenewal is a Pager that panics in the first renewal and fails in the second.
type failingRenewal struct {
	Pager
	calls atomic.Int64
}

func (s *failingRenewal) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	switch s.calls.Add(1) {
	case 1:
		panic("in a storage")
	case 2:
		return errors.New("disk on fire")
	}
	return s.Pager.Renew(ctx, peers, fresh)
}
