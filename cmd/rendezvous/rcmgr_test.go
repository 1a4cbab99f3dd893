package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// TestRefusedConnectionsAreLogged: once a minute, with their number.
func TestRefusedConnectionsAreLogged(t *testing.T) {
	var lines bytes.Buffer
	manager, err := newResourceManager(limits{connections: 100, connectionsPerIP: 8}, nil, slog.New(slog.NewTextHandler(&lines, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = manager.Close() })
	for range 20 {
		if scope, err := manager.OpenConnection(network.DirInbound, true, ma.StringCast("/ip4/192.0.2.1/tcp/1")); err == nil {
			t.Cleanup(scope.Done)
		}
	}
	require.Equal(t, 1, strings.Count(lines.String(), "connections refused"), lines.String())
	n, due := manager.(*refusalLogger).refused(time.Now().Add(time.Minute))
	require.True(t, due)
	require.Equal(t, 12, n)
}
