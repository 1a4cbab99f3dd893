package main

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startRedis starts a server that ends with the test, and returns its address.
func startRedis(t testing.TB, args ...string) string {
	t.Helper()
	addr := freeAddr(t)
	redisProcess(t, addr, args...)
	return addr
}

// redisProcess starts a server at an address, with nothing in it.
func redisProcess(t testing.TB, addr string, args ...string) *process {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	require.NoError(t, err, "redis-server is needed, which .ci/deps-redis installs")
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return startProcess(t, program, append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", ""}, args...)...)
}

// Points of one registry are one point to their peers, and a password is no secret
// that a point gives away.
func TestSharedRegistry(t *testing.T) {
	t.Parallel()
	url := "redis://:swordfish@" + startRedis(t, "--requirepass", "swordfish") + "/0"
	one, two := beginPoint(t, "--storage", url), beginPoint(t, "--storage", url)
	registerHost(t, one.addrs[0], "news")
	out, errs, code := command(t, "discover", "--json", "--point", two.addrs[0], "news")
	require.Zero(t, code, errs)
	require.Equal(t, 1, strings.Count(out, `"namespace":"news"`))

	status, body, _ := get(t, two.url+"metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "libp2p_rendezvous_redis_shards ")
	_, body, _ = get(t, two.url)
	require.Contains(t, body, "<bdi>news</bdi>")
	require.NotContains(t, one.errs.String()+body, "swordfish")
	require.Zero(t, one.stop())

	_, errs, code = command(t, "serve", "--key", t.TempDir()+"/key", "--storage", strings.Replace(url, "swordfish", "guess", 1))
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
