package main

// What serve does with its flags, and with signals.

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSettingPrecedence: a flag overrides a variable, and a variable overrides the file.
func TestSettingPrecedence(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "rendezvous.yml")
	require.NoError(t, os.WriteFile(config, []byte(`
# a comment
listen:
  - /ip4/127.0.0.1/tcp/0
  - /ip4/127.0.0.1/udp/0/quic-v1
http: 127.0.0.1:0
log-format: json
log-level: warn
max-registrations: 1
key: `+filepath.Join(dir, "key")+`
`), 0o600))
	t.Setenv("RENDEZVOUS_LOG_LEVEL", "error")
	t.Setenv("RENDEZVOUS_CONFIG", config)
	p := awaitTestPoint(t, startCommand(t, "serve", "--log-level", "info"))
	require.Len(t, p.addrs, 2)
	require.NotEmpty(t, p.url)

	t.Setenv("RENDEZVOUS_POINT", p.addrs[0]+","+p.addrs[1])
	_, errs, code := runCommand(t, "bench", "--peers", "2", "--requests", "10", "--duration", "200ms")
	require.Equal(t, exitRefused, code, errs)
	require.Contains(t, errs, "is full", "the limit in the file is in effect")
}

func TestAllowAndDeny(t *testing.T) {
	id, _, _ := runCommand(t, "id", "--key", t.TempDir()+"/key")
	otherPeer := strings.TrimSpace(id)
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"address denied":           {[]string{"--deny", "127.0.0.0/8"}, exitNoAnswer},
		"mapped address denied":    {[]string{"--deny", "::ffff:127.0.0.1"}, exitNoAnswer},
		"allowed and denied":       {[]string{"--allow", "127.0.0.1", "--deny", "127.0.0.1"}, exitNoAnswer},
		"another peer allowed":     {[]string{"--allow", otherPeer}, exitNoAnswer},
		"address allowed":          {[]string{"--allow", "127.0.0.1"}, exitOK},
		"another peer denied":      {[]string{"--deny", otherPeer}, exitOK},
		"other networks denied":    {[]string{"--deny", "192.0.2.0/24", "--deny", "2001:db8::/32"}, exitOK},
		"several networks allowed": {[]string{"--allow", "192.0.2.1", "--allow", "127.0.0.0/8"}, exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			point := startTestPoint(t, c.args...)
			_, errs, code := runCommand(t, "ping", "--point", point.addrs[0], "--count", "1", "--timeout", "5s")
			require.Equal(t, c.code, code, errs)
		})
	}
}

func TestAnnounce(t *testing.T) {
	point := startTestPoint(t, "--announce", "/dns4/point.example.org/tcp/443/wss")
	require.Len(t, point.addrs, 1)
	require.Contains(t, point.addrs[0], "/dns4/point.example.org/tcp/443/wss/p2p/12D3")
}

// TestWithoutIPv6: without IPv6, all other default addresses remain.
func TestWithoutIPv6(t *testing.T) {
	addrs, err := parseAddrs("listen", defaultListen)
	require.NoError(t, err)
	var remaining []string
	for _, a := range withoutIPv6(addrs) {
		remaining = append(remaining, a.String())
	}
	require.NotEmpty(t, remaining)
	require.Equal(t, slices.DeleteFunc(slices.Clone(defaultListen), func(a string) bool { return strings.HasPrefix(a, "/ip6/") }), remaining)
}

// TestNotifySystemd: systemd is notified when the point serves and when it stops.
func TestNotifySystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	next := func() string {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		b := make([]byte, 64)
		n, err := conn.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	point := startTestPoint(t)
	require.Equal(t, "READY=1", next())
	status, _, _ := httpGet(t, point.url+"readyz")
	require.Equal(t, 200, status)
	require.Zero(t, point.stop())
	require.Equal(t, "STOPPING=1", next())
}

func TestRunWithin(t *testing.T) {
	started := time.Now()
	release := make(chan struct{})
	defer close(release)
	err := runWithin(20*time.Millisecond, func() error { <-release; return nil })
	require.ErrorContains(t, err, "not finished")
	require.Less(t, time.Since(started), 10*time.Second)
	require.NoError(t, runWithin(time.Minute, func() error { return nil }))
}
