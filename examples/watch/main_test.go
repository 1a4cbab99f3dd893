package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestDemo: three peers join, and one leaves.
func TestDemo(t *testing.T) {
	t.Parallel() // it waits until a registration expires
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out))
	require.Equal(t, 3, strings.Count(out.String(), " joined, at "), out.String())
	require.Equal(t, 1, strings.Count(out.String(), " left\n"), out.String())
}

// TestHostileAddress: a peer's address does not control the terminal.
func TestHostileAddress(t *testing.T) {
	t.Parallel()
	name, err := ma.NewComponent("dns4", "x\x1b[2J\nforged\u202e")
	require.NoError(t, err)
	var out bytes.Buffer
	printEvent(&out, rendezvous.Event{Type: rendezvous.Joined, Peer: peer.AddrInfo{ID: "p", Addrs: []ma.Multiaddr{name.Multiaddr()}}})
	require.Equal(t, 1, strings.Count(out.String(), "\n"), "no line is forged")
	require.Contains(t, out.String(), `x\x1b[2J\nforged\u202e`)
}

func TestBadAddress(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), []string{"-point", "nowhere"}, io.Discard)
	require.ErrorContains(t, err, `-point "nowhere"`)
}

func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, io.Discard), `unexpected argument "nowhere"`)
}
