package redisstorage

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/storagetest"
)

// TestContract runs storagetest on Redis, Valkey and a cluster. Each of its tests has a
// registry with a different prefix.
func TestContract(t *testing.T) {
	t.Parallel()
	var registries atomic.Int64
	run := func(t *testing.T, url string, opts ...storagetest.Option) {
		t.Helper()
		opts = append(opts, storagetest.RealTime(), storagetest.MustPage())
		storagetest.Run(t, func(t *testing.T) rendezvous.Storage {
			t.Helper()
			return open(t, url, WithPrefix(fmt.Sprint("registry", registries.Add(1))))
		}, opts...)
	}
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			run(t, startServer(t, program).url())
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		run(t, startCluster(t, "redis-server").url(), storagetest.ApproximateLimits())
	})
}

// open opens a storage and closes it when the test ends.
func open(t testing.TB, url string, opts ...Option) *Storage {
	t.Helper()
	s, err := Open(t.Context(), url, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
