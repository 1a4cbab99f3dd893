//go:build linux

package main

import (
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func TestAskedPoints(t *testing.T) {
	asked := &askedPoints{answered: make(map[peer.ID]bool)}
	require.Empty(t, asked.take())
	refused := errors.New("refused")
	asked.RequestEnded(rendezvous.RequestEnded{Point: "p1", Err: refused})
	asked.RequestEnded(rendezvous.RequestEnded{Point: "p2"})
	asked.RequestEnded(rendezvous.RequestEnded{Point: "p2", Err: refused})
	require.Equal(t, map[string]bool{peer.ID("p1").String(): false, peer.ID("p2").String(): true}, asked.take())
	require.Empty(t, asked.take())
}
