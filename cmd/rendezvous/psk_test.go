package main

// Private networks.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// writePSK writes the key of a private network.
func writePSK(t testing.TB, digit string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "swarm.key")
	require.NoError(t, os.WriteFile(path, []byte("/key/swarm/psk/1.0.0/\n/base16/\n"+strings.Repeat(digit, 64)+"\n"), mode))
	return path
}

// TestPrivateNetwork: with its key, all commands reach a point of a private network, over
// TCP and WebSocket. Nobody reaches it without the key.
func TestPrivateNetwork(t *testing.T) {
	t.Parallel()
	psk := writePSK(t, "1", 0o600)
	point := awaitTestPoint(t, startCommand(t, "serve", "--psk", psk, "--key", t.TempDir()+"/key", "--log-format", "json",
		"--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/tcp/0/ws"))
	require.Len(t, point.addrs, 2)
	for _, addr := range point.addrs {
		_, errs, code := runCommand(t, "ping", "--psk", psk, "--point", addr)
		require.Zero(t, code, errs)
	}
	addr := point.addrs[0]
	register := startCommand(t, "register", "--psk", psk, "--point", addr, "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(register.out.String(), "registered at") })
	watch := startCommand(t, "watch", "--psk", psk, "--point", addr, "news")
	waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), "+ 12D3") })
	for _, args := range [][]string{{"discover", "--all"}, {"id"}, {"bench", "--peers", "2", "--requests", "20", "--duration", "200ms"}} {
		_, errs, code := runCommand(t, append(args, "--psk", psk, "--point", addr)...)
		require.Zero(t, code, errs)
	}
	require.Zero(t, watch.stop())
	require.Zero(t, register.stop())

	for _, without := range [][]string{nil, {"--psk", writePSK(t, "2", 0o600)}} {
		_, errs, code := runCommand(t, append([]string{"ping", "--timeout", "2s", "--point", addr}, without...)...)
		require.Equal(t, exitNoAnswer, code)
		require.Contains(t, errs, "cannot reach")
	}
}

func TestPrivateNetworkErrors(t *testing.T) {
	psk := writePSK(t, "1", 0o600)
	quic := "/ip4/127.0.0.1/udp/4040/quic-v1"
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"listen on QUIC":   {[]string{"serve", "--key", t.TempDir() + "/key", "--psk", psk, "--listen", quic}, exitUsage, "use TCP or WebSocket"},
		"announce QUIC":    {[]string{"serve", "--key", t.TempDir() + "/key", "--psk", psk, "--announce", quic}, exitUsage, "use TCP or WebSocket"},
		"register at QUIC": {[]string{"register", "--psk", psk, "--listen", quic, "--point", "/ip4/127.0.0.1/tcp/1/p2p/" + somePeer, "news"}, exitUsage, "use TCP or WebSocket"},
		"point on QUIC":    {[]string{"ping", "--psk", psk, "--point", quic + "/p2p/" + somePeer}, exitUsage, "use TCP or WebSocket"},
		"no file":          {[]string{"ping", "--psk", psk + "x", "--point", "/ip4/127.0.0.1/tcp/1/p2p/" + somePeer}, exitCannotStart, "no such file"},
		"readable":         {[]string{"ping", "--psk", writePSK(t, "1", 0o644), "--point", "/ip4/127.0.0.1/tcp/1/p2p/" + somePeer}, exitCannotStart, "chmod 600"},
		"not a key":        {[]string{"ping", "--psk", writePSK(t, "z", 0o600), "--point", "/ip4/127.0.0.1/tcp/1/p2p/" + somePeer}, exitCannotStart, "/key/swarm/psk/1.0.0/"},
	} {
		_, errs, code := runCommand(t, c.args...)
		require.Equal(t, c.code, code, name)
		require.Contains(t, errs, c.want, name)
		require.Regexp(t, `^rendezvous: [^\n]+\n$`, errs, name)
	}
}

// TestPrivateDefaults: a private point listens on those of the default addresses that it
// can.
func TestPrivateDefaults(t *testing.T) {
	addrs, err := parseAddrs("listen", defaultListen)
	require.NoError(t, err)
	private := withoutUDP(addrs)
	require.NotEmpty(t, private)
	for _, a := range private {
		require.Contains(t, a.String(), "/tcp/")
	}
}
