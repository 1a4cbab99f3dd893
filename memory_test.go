package rendezvous

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func testRecord(ns string, p string, ttl time.Duration) Record {
	return Record{Namespace: ns, Peer: peer.ID(p), Envelope: []byte("envelope of " + p), Deadline: time.Now().Add(ttl)}
}

func TestMemoryStorageEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStorage()
		defer s.Close()
		require.NoError(t, s.Add(t.Context(), testRecord("ns", "a", 20*time.Second), Quota{}))
		time.Sleep(20*time.Second - 1)
		got, err := s.Sample(t.Context(), "ns", 10, 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "envelope of a", string(got[0].Envelope))
		time.Sleep(time.Nanosecond)
		got, err = s.Sample(t.Context(), "ns", 10, 0)
		require.NoError(t, err)
		require.Empty(t, got)
		time.Sleep(2 * time.Second)
		c, err := s.Counts(t.Context())
		require.NoError(t, err)
		require.Zero(t, c)
	})
}

func TestDurableStorageOutlivesItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for round := range 3 {
		db, err := OpenLevelDB(path)
		require.NoError(t, err)
		s := NewStorage(db)
		got, err := s.Sample(context.Background(), "ns", 100, 0)
		require.NoError(t, err)
		require.Len(t, got, round)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, s.Add(ctx, testRecord("ns", fmt.Sprint(round), time.Minute), Quota{}))
		cancel()
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Add(t.Context(), testRecord("ns", "x", time.Minute), Quota{}), ErrClosed)
		require.NoError(t, db.Close())
		require.NoError(t, db.Close())
	}
}
