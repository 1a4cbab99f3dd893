package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestServer registers with the point, and checks that its metrics count the registration.
func TestServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	screen, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-db", t.TempDir()}, out) }()
	lines := bufio.NewScanner(screen)
	next := func(label string) string {
		require.True(t, lines.Scan())
		value, found := strings.CutPrefix(lines.Text(), label)
		require.True(t, found, lines.Text())
		return strings.TrimSpace(value)
	}
	point, err := peer.AddrInfoFromString(next("point:"))
	require.NoError(t, err)
	metrics := next("metrics:")

	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(*point))
	_, err = client.Register(ctx, point.ID, "chat", 0)
	require.NoError(t, err)

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^libp2p_rendezvous_registrations(\{.*\})? 1$`, string(text))

	cancel()
	next("stopping")
	require.NoError(t, <-ended)
}

func TestBadAddress(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"-listen", "/ip4/192.0.2.1/tcp/1"}, io.Discard), "/ip4/192.0.2.1/tcp/1")
}

func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, io.Discard), `unexpected argument "nowhere"`)
}
