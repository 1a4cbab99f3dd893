package rendezvous

// Storages that page, for tests.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// pagingStorage is testStorage as a [Pager].
func pagingStorage(t testing.TB) Pager {
	t.Helper()
	return testStorage(t).(Pager)
}

// plainPager is a Pager without the optional methods of the memory storage.
type plainPager struct{ Pager }

// eachPager runs a test on storages that page.
func eachPager(t *testing.T, test func(t *testing.T, s Pager)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, pagingStorage(t)) })
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
