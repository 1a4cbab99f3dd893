package redisstorage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPolicy(t *testing.T) {
	require.Equal(t, "noeviction", policy("# Memory\r\nused_memory:1\r\nmaxmemory_policy:noeviction\r\n"))
	require.Equal(t, "allkeys-lru", policy("maxmemory_policy:allkeys-lru"))
	require.Empty(t, policy("# Memory\r\n"))
}
