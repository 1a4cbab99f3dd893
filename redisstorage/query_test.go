package redisstorage

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestShouldRetry checks that a query is repeated after a lost connection, but not because
// of a shard that was not asked.
func TestShouldRetry(t *testing.T) {
	q := &query{namespace: "ns"}
	require.False(t, q.shouldRetry(t.Context(), []answer{{err: errDown}, {}}))
	require.True(t, q.shouldRetry(t.Context(), []answer{{err: errDown}, {err: io.ErrUnexpectedEOF}}))
}
