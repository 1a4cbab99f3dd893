package main

// Two processes that serve with the same key.

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestSameKeyOnOneMachine: the second process says that there are two, where an operator
// looks. The first one goes on.
func TestSameKeyOnOneMachine(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	first := startTestPoint(t, "--key", key)
	second := startTestPoint(t, "--key", key)
	require.Contains(t, second.errs.String(), `"msg":"another process serves with the same key`)
	require.Contains(t, second.errs.String(), `"on_this_machine":true,"at_this_registry":false`)
	_, page, _ := httpGet(t, second.url)
	require.Contains(t, page, "Another process serves with the same key")
	_, metrics, _ := httpGet(t, second.url+"metrics")
	require.Contains(t, metrics, "libp2p_rendezvous_same_key 1\n")

	_, page, _ = httpGet(t, first.url)
	require.NotContains(t, page, "Another process")
	require.Zero(t, first.stop())
	require.Zero(t, second.stop())
	third := startTestPoint(t, "--key", key)
	require.NotContains(t, third.errs.String(), "another process", "the key is free again")
}

// fakeRegistry is a registry that two processes share.
type fakeRegistry struct {
	rendezvous.Storage
	process string
	down    bool
}

func (r *fakeRegistry) SwapProcess(_ context.Context, _ peer.ID, process string) (string, error) {
	if r.down {
		return "", errors.New("down")
	}
	before := r.process
	r.process = process
	return before, nil
}

// TestSameKeyAtOneRegistry: two processes on different machines find each other in the
// registry that they share. A restart finds nobody.
func TestSameKeyAtOneRegistry(t *testing.T) {
	r := &fakeRegistry{process: "before the restart"}
	watch := func() *sameKey {
		return newSameKey(slog.New(slog.DiscardHandler), filepath.Join(t.TempDir(), "none"), "point", r)
	}
	one, two := watch(), watch()
	check := func(k *sameKey, want bool) {
		t.Helper()
		k.check(t.Context())
		require.Equal(t, want, k.found.Load())
		var metric dto.Metric
		require.NoError(t, k.Write(&metric))
		require.Equal(t, want, metric.GetGauge().GetValue() == 1)
	}
	check(one, false)
	check(one, false)
	check(two, false)
	check(one, true)
	check(two, true)
	r.down = true
	check(one, true)
	r.down = false
	check(one, true)
	check(one, false) // two has stopped
	r.process = ""    // the server was restarted, and is empty
	check(one, false)
}

// TestSameKeyOnRedis: the storage on Redis is such a registry.
func TestSameKeyOnRedis(t *testing.T) {
	t.Parallel()
	url := "redis://" + startRedis(t)
	waitForListener(t, strings.TrimPrefix(url, "redis://"))
	var watches []*sameKey
	for range 2 {
		s, closeStorage, err := openStorage(t.Context(), url, prometheus.NewRegistry())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, closeStorage()) })
		watches = append(watches, newSameKey(slog.New(slog.DiscardHandler), filepath.Join(t.TempDir(), "none"), "point", s))
	}
	for _, k := range append(watches, watches...) {
		k.check(t.Context())
	}
	require.True(t, watches[0].found.Load())
	require.True(t, watches[1].found.Load())
}
