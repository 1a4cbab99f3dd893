package main

// A point that can be reached through a relay only.

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// startRelayedPoint starts a relay, and a point that does not listen and has a place at
// the relay. It returns the point's address.
func startRelayedPoint(t testing.TB) string {
	t.Helper()
	relay, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.EnableRelayService(), libp2p.ForceReachabilityPublic())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, relay.Close()) })
	h, err := libp2p.New(libp2p.EnableRelay(), libp2p.NoListenAddrs)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	storage := rendezvous.NewMemoryStorage()
	t.Cleanup(func() { require.NoError(t, storage.Close()) })
	service := rendezvous.NewRendezvousService(h, storage)
	require.NoError(t, service.Start())
	t.Cleanup(service.Stop)

	_, err = client.Reserve(t.Context(), h, peer.AddrInfo{ID: relay.ID(), Addrs: relay.Addrs()})
	require.NoError(t, err)
	return relay.Addrs()[0].String() + "/p2p/" + relay.ID().String() + "/p2p-circuit/p2p/" + h.ID().String()
}

func TestRelayedPoint(t *testing.T) {
	t.Parallel()
	point := startRelayedPoint(t)
	out, errs, code := runCommand(t, "ping", "--count", "2", "--point", point)
	require.Zero(t, code, errs)
	require.Contains(t, out, "2 answers")
	out, errs, code = runCommand(t, "id", "--point", point)
	require.Zero(t, code, errs)
	require.Contains(t, out, "serves /vac/waku/rendezvous/0.0.1")

	register := startCommand(t, "register", "--listen", "/ip4/127.0.0.1/tcp/0", "--point", point, "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(register.out.String(), "registered at") })
	watch := startCommand(t, "watch", "--point", point, "news")
	waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), "+ 12D3") })
	out, errs, code = runCommand(t, "discover", "--point", point, "news")
	require.Zero(t, code, errs)
	require.Contains(t, out, "/ip4/127.0.0.1/tcp/")
	out, errs, code = runCommand(t, "bench", "--point", point, "--peers", "2", "--requests", "20", "--duration", "500ms")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^register +\d+ +\d+ +0 +0 `, out)
	require.Zero(t, watch.stop())
	require.Zero(t, register.stop())
}
