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

	ma "github.com/multiformats/go-multiaddr"
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

// TestAnnounce: a point logs what it announces and what it listens on. An address that
// ends with the point's own ID is the same without it.
func TestAnnounce(t *testing.T) {
	key := t.TempDir() + "/key"
	out, _, _ := runCommand(t, "id", "--key", key)
	id := strings.TrimSpace(out)
	for _, announced := range []string{"/dns4/point.example.org/tcp/443/wss", "/dns4/point.example.org/tcp/443/wss/p2p/" + id} {
		point := startTestPoint(t, "--key", key, "--announce", announced)
		require.Equal(t, 1, strings.Count(point.errs.String(), `"msg":"announcing","address":"/dns4/point.example.org/tcp/443/wss/p2p/`+id+`"`), point.errs.String())
		require.Len(t, point.addrs, 3, "it listens on the addresses that it was told")
		out, errs, code := runCommand(t, "id", "--point", point.addrs[0])
		require.Zero(t, code, errs)
		require.Contains(t, out, "  /dns4/point.example.org/tcp/443/wss/p2p/"+id+"\n")
		_, page, _ := httpGet(t, point.url)
		require.Contains(t, page, "/dns4/point.example.org/tcp/443/wss/p2p/"+id)
		require.Zero(t, point.stop())
	}
}

func TestCheckDialable(t *testing.T) {
	for address, want := range map[string]string{
		"/ip4/0.0.0.0/tcp/4040":                                 "all addresses of this machine",
		"/ip6/::/udp/4040/quic-v1":                              "all addresses of this machine",
		"/ip6/::ffff:0.0.0.0/tcp/4040":                          "all addresses of this machine",
		"/ip4/224.0.0.1/tcp/4040":                               "not the address of one machine",
		"/ip4/255.255.255.255/tcp/4040":                         "not the address of one machine",
		"/ip4/192.0.2.1/tcp/0":                                  "port 0",
		"/dns4/point.example.org/udp/0/quic-v1":                 "port 0",
		"/dns4/point.example.org":                               "no port",
		"/ip4/192.0.2.1":                                        "no port",
		"/dns4/point.example.org/p2p/" + somePeer:               "no port",
		"/ip4/192.0.2.1/udp/4040":                               "/quic-v1",
		"/tcp/4040":                                             "neither an IP address nor a name",
		"/p2p/" + somePeer:                                      "neither an IP address nor a name",
		"/unix/%2Ftmp%2Fsocket":                                 "neither an IP address nor a name",
		"/ip4/127.0.0.1/tcp/4040":                               "",
		"/ip6/2001:db8::1/udp/4040/quic-v1":                     "",
		"/dns/point.example.org/tcp/443/wss":                    "",
		"/dnsaddr/point.example.org":                            "",
		"/ip4/192.0.2.1/udp/4040/webrtc-direct":                 "",
		"/p2p/" + somePeer + "/p2p-circuit":                     "",
		"/ip4/192.0.2.1/tcp/1/p2p/" + somePeer + "/p2p-circuit": "",
	} {
		a, err := ma.NewMultiaddr(address)
		require.NoError(t, err)
		if err := checkDialable(a); want == "" {
			require.NoError(t, err, address)
		} else {
			require.ErrorContains(t, err, want, address)
		}
	}
}

// TestHomeDirectory: a shell does not replace a ~ inside a word.
func TestHomeDirectory(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(home, "rendezvous.yml"), []byte("storage: leveldb:~/data/db\n"), 0o600))
	point := startTestPoint(t, "--key=~/key", "--config=~/rendezvous.yml")
	require.Contains(t, point.errs.String(), `"leveldb:`+home+`/data/db"`)
	require.Zero(t, point.stop())
	require.FileExists(t, filepath.Join(home, "key"))
	require.DirExists(t, filepath.Join(home, "data", "db"))
	require.NoDirExists(t, "~")

	for path, want := range map[string]string{"~": home, "~/a": home + "/a", "/a/~": "/a/~", "./~a": "./~a", "": ""} {
		got, err := userPath(path)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestUnknownVariables: a variable that no flag has does not go unnoticed, unless Docker
// or Kubernetes has set it.
func TestUnknownVariables(t *testing.T) {
	t.Setenv("RENDEZVOUS_MAXTTL", "10s")
	t.Setenv("RENDEZVOUS_ANNOUNCED", "/ip4/192.0.2.1/tcp/1")
	t.Setenv("RENDEZVOUS_rate", "1")
	t.Setenv("RENDEZVOUS_PORT", "tcp://10.0.0.1:4040")
	t.Setenv("RENDEZVOUS_POINT_SERVICE_HOST", "10.0.0.1")
	t.Setenv("RENDEZVOUS_POINT_PORT_4040_TCP_ADDR", "10.0.0.1")
	t.Setenv("RENDEZVOUS_CONFIG", "")
	require.Equal(t, []unknownVariable{
		{"RENDEZVOUS_ANNOUNCED", "RENDEZVOUS_ANNOUNCE"},
		{"RENDEZVOUS_MAXTTL", "RENDEZVOUS_MAX_TTL"},
		{"RENDEZVOUS_rate", "RENDEZVOUS_RATE"},
	}, unknownVariables(newApp(os.Stdout, os.Stderr)))

	point := startTestPoint(t)
	require.Contains(t, point.errs.String(), `"variable":"RENDEZVOUS_MAXTTL","nearest":"RENDEZVOUS_MAX_TTL"`)
	_, errs, code := runCommand(t, "ping", "--point", point.addrs[0])
	require.Zero(t, code)
	require.Contains(t, errs, "rendezvous: warning: no flag has the variable RENDEZVOUS_MAXTTL; the nearest is RENDEZVOUS_MAX_TTL\n")
}

// TestStopBeforeServing: a signal to stop is no failure while the point waits for Redis.
func TestStopBeforeServing(t *testing.T) {
	t.Parallel()
	redis := startSilentServer(t)
	c := startCommand(t, "serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--key", t.TempDir()+"/key",
		"--storage", "redis://"+redis.Addr().String(), "--http", "127.0.0.1:0")
	redis.awaitConn(t, 0) // it logs nothing while it waits
	require.False(t, c.hasEnded(), c.errs.String())
	require.Zero(t, c.stop(), c.errs.String())
	require.Contains(t, c.errs.String(), "stopped before it served")
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

// TestDefaultListen: serve listens on all default addresses, those for browsers included,
// and needs only one UDP port. The ports and the interface are other ones here.
func TestDefaultListen(t *testing.T) {
	other := strings.NewReplacer("0.0.0.0", "127.0.0.1", "4040", freePort(t), "4041", freePort(t))
	args := []string{"serve", "--key", t.TempDir() + "/key", "--log-format", "json"}
	for _, a := range defaultListen {
		if strings.HasPrefix(a, "/ip4/") {
			args = append(args, "--listen", other.Replace(a))
		}
	}
	point := awaitTestPoint(t, startCommand(t, args...))
	var transports []string
	for _, a := range point.addrs {
		before, _, _ := strings.Cut(a, "/p2p/")
		transport, _, _ := strings.Cut(before, "/certhash/")
		transports = append(transports, transport)
		_, errs, code := runCommand(t, "ping", "--point", a, "--count", "1")
		require.Equal(t, exitOK, code, "%s: %s", a, errs)
	}
	slices.Sort(transports)
	want := []string{
		"/ip4/127.0.0.1/tcp/4040", "/ip4/127.0.0.1/tcp/4041/ws",
		"/ip4/127.0.0.1/udp/4040/quic-v1", "/ip4/127.0.0.1/udp/4040/quic-v1/webtransport", "/ip4/127.0.0.1/udp/4040/webrtc-direct",
	}
	for i := range want {
		want[i] = other.Replace(want[i])
	}
	slices.Sort(want)
	require.Equal(t, want, transports)
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
