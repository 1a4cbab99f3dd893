package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEndToEnd runs two points and two peers, each in a process of its own. The peers
// register at both points and find each other. One point is killed, and still knows the
// registrations when it is back. Both points count the requests in their metrics.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	binary := build(t)
	dir := t.TempDir()
	args := func(name, port string) []string {
		return []string{
			"--listen", "/ip4/127.0.0.1/tcp/" + port, "--listen", "/ip4/127.0.0.1/udp/" + port + "/quic-v1",
			"--key", filepath.Join(dir, name, "key"), "--storage", "leveldb:" + filepath.Join(dir, name, "db"), "--http", "127.0.0.1:0",
		}
	}
	portOne, portTwo := freePort(t), freePort(t)
	one, two := startPointProcess(t, binary, args("one", portOne)...), startPointProcess(t, binary, args("two", portTwo)...)
	info, err := os.Stat(filepath.Join(dir, "one", "key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	addrOne, addrTwo := one.addrs[0], two.addrs[0]

	var peers []*process
	for range 2 {
		p := startProcess(t, binary, "register", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--point", addrOne, "--point", addrTwo, "news")
		peers = append(peers, p)
	}
	for _, addr := range []string{addrOne, addrTwo} {
		waitFor(t, "both peers to be found", func() bool { return len(discoverPeers(t, binary, addr, "news")) == 2 })
	}
	before := discoverPeers(t, binary, addrOne, "news")
	require.Empty(t, discoverPeers(t, binary, addrOne, "new"))

	// Stop the peers before the kill: afterwards only the database can know them.
	for _, p := range peers {
		require.Zero(t, p.signal(syscall.SIGINT), p.errs.String())
	}
	one.signal(syscall.SIGKILL)
	one = startPointProcess(t, binary, args("one", portOne)...)
	require.Equal(t, addrOne, one.addrs[0], "the point has the same peer ID and address as before")
	require.ElementsMatch(t, before, discoverPeers(t, binary, addrOne, "news"))

	_, body, _ := httpGet(t, one.url+"metrics")
	require.Contains(t, body, "libp2p_rendezvous_registrations 2\n")
	require.Contains(t, body, `libp2p_rendezvous_requests_total{protocol="/vac/waku/rendezvous/0.0.1",status="ok",type="discover"} 1`)
	_, body, _ = httpGet(t, two.url+"metrics")
	require.Regexp(t, `libp2p_rendezvous_requests_total\{protocol="/vac/waku/rendezvous/0\.0\.1",status="ok",type="register"\} [2-9]`, body)

	require.Zero(t, one.signal(syscall.SIGTERM), one.errs.String())
	require.Contains(t, one.errs.String(), `"msg":"stopped"`)
	require.Zero(t, two.signal(syscall.SIGTERM))
}
