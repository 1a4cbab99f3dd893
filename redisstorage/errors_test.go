package redisstorage

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAgain: servers are asked again where a connection was lost, and not where one was
// left out because it does not answer.
func TestAgain(t *testing.T) {
	t.Parallel()
	s := new(Storage)
	require.False(t, s.again(t.Context(), "n", []answer{{err: errDown}, {}}))
	require.True(t, s.again(t.Context(), "n", []answer{{err: errDown}, {err: io.ErrUnexpectedEOF}}))
}
