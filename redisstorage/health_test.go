package redisstorage

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealth(t *testing.T) {
	err := errors.New("refused")
	h := newHealth(2)
	require.False(t, h.skip(0))
	h.fail(0, err)
	h.fail(0, err)
	require.Equal(t, 1, h.numDown())
	require.True(t, h.skip(0))
	require.False(t, h.skip(1))
	h.fail(1, err)
	require.Equal(t, 2, h.numDown())
	require.False(t, h.skip(0), "if all shards are down, all are asked")
	h.succeed(1)
	h.succeed(1)
	h.succeed(0)
	require.Zero(t, h.numDown())
	require.False(t, h.skip(0))
}
