package main

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startRedis starts a Redis server, which is killed at the end of the test, and returns
// its address.
func startRedis(t testing.TB, args ...string) string {
	t.Helper()
	addr := freeAddr(t)
	startRedisAt(t, addr, args...)
	return addr
}

// startRedisAt starts an empty Redis server that listens on an address.
func startRedisAt(t testing.TB, addr string, args ...string) *process {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	require.NoError(t, err, ".ci/deps-redis installs redis-server")
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return startProcess(t, program, append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", ""}, args...)...)
}

// TestSharedRegistry: a registration at one point is discovered at another point that
// shares its registry. The password of the registry appears in no log and no page.
func TestSharedRegistry(t *testing.T) {
	t.Parallel()
	url := "redis://:swordfish@" + startRedis(t, "--requirepass", "swordfish") + "/0"
	one, two := startTestPoint(t, "--storage", url), startTestPoint(t, "--storage", url)
	registerPeer(t, one.addrs[0], "news")
	out, errs, code := runCommand(t, "discover", "--json", "--point", two.addrs[0], "news")
	require.Zero(t, code, errs)
	require.Equal(t, 1, strings.Count(out, `"namespace":"news"`))

	status, body, _ := httpGet(t, two.url+"metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "libp2p_rendezvous_redis_shards ")
	_, body, _ = httpGet(t, two.url)
	require.Contains(t, body, "<bdi>news</bdi>")
	require.NotContains(t, one.errs.String()+body, "swordfish")
	require.Zero(t, one.stop())

	_, errs, code = runCommand(t, "serve", "--key", t.TempDir()+"/key", "--storage", strings.Replace(url, "swordfish", "guess", 1))
	require.Equal(t, exitCannotStart, code)
	require.NotContains(t, errs, "guess")
	require.Regexp(t, `^rendezvous: [^\n]+\n$`, errs)
}

func TestStorageName(t *testing.T) {
	for url, want := range map[string]string{
		"memory:":                           "memory:",
		"leveldb:/var/lib/rendezvous/db":    "leveldb:/var/lib/rendezvous/db",
		"redis://10.0.0.1:6379":             "redis://10.0.0.1:6379",
		"rediss://me:secret@10.0.0.1:6379":  "rediss://10.0.0.1:6379",
		"valkey://:a/b@10.0.0.1,10.0.0.2/0": "valkey://10.0.0.1,10.0.0.2/0",
	} {
		require.Equal(t, want, storageName(url))
	}
}

// waitForListener waits until a server listens on a TCP address.
func waitForListener(t testing.TB, addr string) {
	t.Helper()
	waitFor(t, "a server on "+addr, func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		return err == nil && c.Close() == nil
	})
}
