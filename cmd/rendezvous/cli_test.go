package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCommandsAtAPoint(t *testing.T) {
	t.Parallel()
	point := beginPoint(t)
	for _, addr := range point.addrs { // over TCP, QUIC and WebSocket
		out, errs, code := command(t, "ping", "--point", addr)
		require.Zero(t, code, errs)
		require.Contains(t, out, "is alive at")
	}
	addr := point.addrs[0]
	registering := begin(t, "register", "--point", addr, "--listen", "/ip4/127.0.0.1/tcp/0", "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(registering.out.String(), "registered at") })
	me := strings.Fields(registering.out.String())[1]

	out, errs, code := command(t, "discover", "--point", addr, "news")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^PEER +TTL +ADDRESSES$`, out)
	require.Regexp(t, `(?m)^`+me+` +(1\d|20)s +/ip4/127\.0\.0\.1/tcp/\d+$`, out)

	out, _, code = command(t, "discover", "--point", addr, "--json", "--all")
	require.Zero(t, code)
	var f found
	require.NoError(t, json.Unmarshal([]byte(out), &f))
	require.Equal(t, me, f.Peer)
	require.Equal(t, "news", f.Namespace)

	watching := begin(t, "watch", "--point", addr, "news")
	waitFor(t, "the watcher", func() bool { return strings.Contains(watching.out.String(), "+ "+me) })
	require.Zero(t, registering.stop())
	waitFor(t, "the peer to leave", func() bool { return strings.Contains(watching.out.String(), "- "+me) })
	require.Zero(t, watching.stop())

	out, _, code = command(t, "id", "--point", addr)
	require.Zero(t, code)
	require.Contains(t, out, "serves /vac/waku/rendezvous/0.0.1")
	for _, a := range point.addrs {
		require.Contains(t, out, a)
	}
	require.Zero(t, point.stop())
}

func TestCommandsPrintJSON(t *testing.T) {
	t.Parallel()
	point := beginPoint(t)
	out, _, code := command(t, "ping", "--point", point.addrs[0], "--json", "--count", "2")
	require.Zero(t, code)
	var p pong
	require.NoError(t, json.Unmarshal([]byte(out), &p))
	require.Equal(t, 2, p.Answers)

	registering := begin(t, "register", "--json", "--point", point.addrs[0], "--listen", "/ip4/127.0.0.1/tcp/0", "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(registering.out.String(), `"findable":true`) })
	watching := begin(t, "watch", "--json", "--point", point.addrs[0], "news")
	waitFor(t, "the watcher", func() bool { return strings.Contains(watching.out.String(), `"joined":true`) })

	out, _, code = command(t, "id", "--json", "--point", point.addrs[0])
	require.Zero(t, code)
	var i identity
	require.NoError(t, json.Unmarshal([]byte(out), &i))
	require.True(t, i.Speaks)
}

func TestBench(t *testing.T) {
	t.Parallel()
	point := beginPoint(t)
	out, errs, code := command(t, "bench", "--point", point.addrs[0], "--point", point.addrs[1], "--peers", "10", "--requests", "200", "--duration", "1s")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^REQUEST +SENT +OK +REFUSED +FAILED`, out)
	require.Regexp(t, `(?m)^register +\d+ +\d+ +0 +0 `, out)

	out, _, code = command(t, "bench", "--json", "--point", point.addrs[0], "--peers", "4", "--requests", "100", "--duration", "500ms", "--discover", "0")
	require.Zero(t, code)
	var results []result
	require.NoError(t, json.Unmarshal([]byte(out), &results))
	require.Equal(t, 50, results[0].OK)
	require.Zero(t, results[1].Sent)
	require.Positive(t, results[0].P99)
}

func TestBenchTellsOfRefusals(t *testing.T) {
	point := beginPoint(t, "--max-registrations", "3")
	_, errs, code := command(t, "bench", "--point", point.addrs[0], "--peers", "5", "--requests", "50", "--duration", "200ms")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "is full")
	_, errs, code = command(t, "bench", "--json", "--point", point.addrs[0], "--peers", "5", "--requests", "50", "--duration", "200ms")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "is full")
}

func TestDiscoverLongNamespace(t *testing.T) {
	point := beginPoint(t)
	_, errs, code := command(t, "discover", "--point", point.addrs[0], strings.Repeat("x", 257))
	require.Equal(t, exitUsage, code, "it was not asked for")
	require.Contains(t, errs, "256")
}

// TestWithoutIPv6: where there is none, what is left of the defaults is all that is not.
func TestWithoutIPv6(t *testing.T) {
	addrs, err := parseAddrs("listen", defaultListen)
	require.NoError(t, err)
	var left []string
	for _, a := range withoutIPv6(addrs) {
		left = append(left, a.String())
	}
	require.NotEmpty(t, left)
	require.Equal(t, slices.DeleteFunc(slices.Clone(defaultListen), func(a string) bool { return strings.HasPrefix(a, "/ip6/") }), left)
}

// What an operator gets wrong is told in one line, with an exit status.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	require.NoError(t, err)
	defer taken.Close()
	_, takenPort, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:"+takenPort) //nolint:noctx // of a test
	require.NoError(t, err)
	defer takenUDP.Close()
	locked := filepath.Join(dir, "db")
	beginPoint(t, "--storage", "leveldb:"+locked)
	notDir := file("plain", "", 0o600)
	nobody := "/ip4/127.0.0.1/tcp/" + freePort(t) + "/p2p/12D3KooWN262PQEJnZsohkskfQvdtHgS5G4ZYuBYkBPc2HSGM6wP"

	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such command":     {[]string{"sevre"}, exitUsage, "no command"},
		"no such flag":        {[]string{"serve", "--prot", "1"}, exitUsage, "prot"},
		"not a number":        {[]string{"serve", "--max-connections", "many"}, exitUsage, "many"},
		"no connections":      {[]string{"serve", "--max-connections", "0"}, exitUsage, "at least 1"},
		"an argument":         {[]string{"serve", "now"}, exitUsage, "no argument"},
		"no such level":       {[]string{"serve", "--log-level", "loud"}, exitUsage, "loud"},
		"no such format":      {[]string{"serve", "--log-format", "xml"}, exitUsage, "xml"},
		"bad address":         {[]string{"serve", "--listen", "127.0.0.1:4040"}, exitUsage, "no multiaddr"},
		"bad announcement":    {[]string{"serve", "--announce", "here"}, exitUsage, "no multiaddr"},
		"mapped network":      {[]string{"serve", "--deny", "::ffff:192.0.2.0/120"}, exitUsage, "no peer ID"},
		"bad deny list":       {[]string{"serve", "--deny", "everybody"}, exitUsage, "no peer ID"},
		"bad storage":         {[]string{"serve", "--storage", "postgres:x"}, exitUsage, `"postgres"…: memory:`},
		"bad storage host":    {[]string{"serve", "--storage", "redis://127.0.0.1:none"}, exitCannotStart, "port"},
		"bad limit":           {[]string{"serve", "--max-ttl", "100h"}, exitUsage, "TTL"},
		"bad rate":            {[]string{"serve", "--rate", "-1"}, exitUsage, "rate limit"},
		"not an address here": {[]string{"serve", "--listen", "/ip4/192.0.2.1/tcp/1"}, exitCannotStart, "192.0.2.1"},
		"port taken":          {[]string{"serve", "--listen", "/ip4/127.0.0.1/tcp/" + takenPort}, exitCannotStart, "taken"},
		"UDP port taken":      {[]string{"serve", "--listen", "/ip4/127.0.0.1/udp/" + takenPort + "/quic-v1"}, exitCannotStart, "taken"},
		"HTTP port taken":     {[]string{"serve", "--http", taken.Addr().String()}, exitCannotStart, "taken"},
		"bad HTTP address":    {[]string{"serve", "--http", "8080"}, exitUsage, "127.0.0.1:8080"},
		"database in use":     {[]string{"serve", "--storage", "leveldb:" + locked}, exitCannotStart, "in use by another process"},
		"database no folder":  {[]string{"serve", "--storage", "leveldb:" + notDir}, exitCannotStart, "not a directory"},
		"key is a directory":  {[]string{"serve", "--key", dir}, exitCannotStart, "is a directory"},
		"key others may read": {[]string{"serve", "--key", file("open", "x", 0o644)}, exitCannotStart, "chmod 600"},
		"key of nonsense":     {[]string{"serve", "--key", file("nonsense", "x", 0o600)}, exitCannotStart, "not a libp2p private key"},
		"key is a folder":     {[]string{"serve", "--key", filepath.Join(notDir, "key")}, exitCannotStart, "not a directory"},
		"no such config":      {[]string{"serve", "--config", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		"config of nonsense":  {[]string{"serve", "--config", file("list.yml", "- a\n- b\n", 0o600)}, exitUsage, "not YAML of keys and values"},
		"config with a typo":  {[]string{"serve", "--config", file("typo.yml", "lisen: x\n", 0o600)}, exitUsage, `"lisen"`},
		"config, nested":      {[]string{"serve", "--config", file("nested.yml", "http: {port: 1}\n", 0o600)}, exitUsage, "mapping"},
		"config, bad number":  {[]string{"serve", "--config", file("number.yml", "burst: many\n", 0o600)}, exitUsage, "number.yml"},
		"no point":            {[]string{"discover", "news"}, exitUsage, "--point"},
		"bad point":           {[]string{"discover", "--point", "here", "news"}, exitUsage, "no multiaddr"},
		"point without ID":    {[]string{"ping", "--point", "/ip4/127.0.0.1/tcp/1"}, exitUsage, "/p2p/"},
		"no namespace":        {[]string{"discover", "--point", nobody}, exitUsage, "namespace is needed"},
		"two namespaces":      {[]string{"watch", "--point", nobody, "a", "b"}, exitUsage, "one namespace"},
		"long namespace":      {[]string{"register", "--point", nobody, strings.Repeat("x", 257)}, exitUsage, "256"},
		"bad count":           {[]string{"ping", "--count", "0", "--point", nobody}, exitUsage, "--count"},
		"nobody there":        {[]string{"ping", "--point", nobody}, exitNoAnswer, "connection refused"},
		"nobody to watch":     {[]string{"watch", "--point", nobody, "news"}, exitNoAnswer, "not reached"},
		"nobody to load":      {[]string{"bench", "--peers", "2", "--point", nobody}, exitNoAnswer, "not reached"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if args[0] == "serve" && !strings.Contains(strings.Join(args, " "), "--key") {
				args = append(args[:1:1], append([]string{"--key", t.TempDir() + "/key", "--listen", "/ip4/127.0.0.1/tcp/0"}, args[1:]...)...)
			}
			out, errs, code := command(t, args...)
			require.Equal(t, c.code, code, errs)
			require.Contains(t, errs, c.says)
			require.Regexp(t, `^rendezvous: [^\n]+\n$`, errs, "one line")
			require.Less(t, len(errs), 400)
			require.Empty(t, out)
		})
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	return port
}

func TestKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	first, errs, code := command(t, "id", "--key", path)
	require.Zero(t, code, errs)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")

	second, _, _ := command(t, "id", "--key", path)
	require.Equal(t, first, second)
	require.Regexp(t, `^12D3KooW\w+\n$`, first)
}

// A flag wins over a variable, and a variable over the file.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "rendezvous.yml")
	require.NoError(t, os.WriteFile(config, []byte(`
# what a point of ours is like
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
	p := &testPoint{running: begin(t, "serve", "--log-level", "info")}
	waitFor(t, "the point to serve", func() bool { return p.read(p.errs.String()) || p.hasEnded() })
	require.Len(t, p.addrs, 2)
	require.NotEmpty(t, p.url)

	t.Setenv("RENDEZVOUS_POINT", p.addrs[0]+","+p.addrs[1])
	_, errs, code := command(t, "bench", "--peers", "2", "--requests", "10", "--duration", "200ms")
	require.Equal(t, exitRefused, code, errs)
	require.Contains(t, errs, "is full", "the limit in the file counts")
}

func TestAllowAndDeny(t *testing.T) {
	keys := t.TempDir()
	id, _, _ := command(t, "id", "--key", keys+"/friend")
	for name, c := range map[string]struct {
		args  []string
		code  int
		https int
	}{
		"denied address":         {args: []string{"--deny", "127.0.0.0/8"}, code: exitNoAnswer},
		"denied, otherwise said": {args: []string{"--deny", "::ffff:127.0.0.1"}, code: exitNoAnswer},
		"denied though allowed":  {args: []string{"--allow", "127.0.0.1", "--deny", "127.0.0.1"}, code: exitNoAnswer},
		"somebody else allowed":  {args: []string{"--allow", strings.TrimSpace(id)}, code: exitNoAnswer},
		"address allowed":        {args: []string{"--allow", "127.0.0.1"}},
		"somebody else denied":   {args: []string{"--deny", strings.TrimSpace(id)}},
		"somewhere else denied":  {args: []string{"--deny", "192.0.2.0/24", "--deny", "2001:db8::/32"}},
		"one of several allowed": {args: []string{"--allow", "192.0.2.1", "--allow", "127.0.0.0/8"}},
	} {
		t.Run(name, func(t *testing.T) {
			point := beginPoint(t, c.args...)
			_, errs, code := command(t, "ping", "--point", point.addrs[0], "--count", "1", "--timeout", "5s")
			require.Equal(t, c.code, code, errs)
		})
	}
}

func TestAnnounce(t *testing.T) {
	point := beginPoint(t, "--announce", "/dns4/point.example.org/tcp/443/wss")
	require.Len(t, point.addrs, 1)
	require.Contains(t, point.addrs[0], "/dns4/point.example.org/tcp/443/wss/p2p/12D3")
}

// systemd hears when the point serves, and when it stops.
func TestSystemdIsTold(t *testing.T) {
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
	point := beginPoint(t)
	require.Equal(t, "READY=1", next())
	status, _, _ := get(t, point.url+"readyz")
	require.Equal(t, 200, status)
	require.Zero(t, point.stop())
	require.Equal(t, "STOPPING=1", next())
}

func TestStopIsBounded(t *testing.T) {
	started := time.Now()
	release := make(chan struct{})
	defer close(release)
	err := within(20*time.Millisecond, func() error { <-release; return nil })
	require.ErrorContains(t, err, "not done")
	require.Less(t, time.Since(started), 10*time.Second)
	require.NoError(t, within(time.Minute, func() error { return nil }))
}

func TestHelpAndVersion(t *testing.T) {
	out, _, code := command(t, "--version")
	require.Zero(t, code)
	require.Regexp(t, `^rendezvous version \S+ \(go1\.\S+, \w+/\w+\)\n$`, out)

	out, _, code = command(t, "--help")
	require.Zero(t, code)
	require.Contains(t, out, "EXIT STATUS")
	for _, c := range newApp(os.Stdout, os.Stderr).Commands {
		require.Contains(t, out, c.Name)
		help, _, code := command(t, c.Name, "--help")
		require.Zero(t, code)
		require.Contains(t, help, "   rendezvous "+c.Name, "an example of %s", c.Name)
		for _, f := range c.Flags {
			require.Contains(t, help, "$"+envName(f.Names()[0]), "every flag is a variable, too")
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, _, code := command(t, "completion", shell)
		require.Zero(t, code)
		require.Contains(t, out, "rendezvous")
	}
	out, _, code = command(t, "serve", "--max", "--generate-shell-completion")
	require.Zero(t, code)
	require.Contains(t, out, "--max-registrations")
}

// What a peer puts into a namespace does nothing to a terminal.
func TestTerminalIsSafe(t *testing.T) {
	t.Parallel()
	point := beginPoint(t)
	registerHost(t, point.addrs[0], hostileNamespace)
	out, _, code := command(t, "discover", "--all", "--point", point.addrs[0])
	require.Zero(t, code)
	require.Contains(t, out, "<script>")
	require.NotRegexp(t, "[\x00-\x08\x0b-\x1f\x7f\u202e]", out)
	require.Equal(t, "a; b\uFFFD[2J", oneLine("a\n\t* b\x1b[2J")[0:1]+"; b\uFFFD[2J")
}

func TestReportOfAStandardError(t *testing.T) {
	var w output
	require.Equal(t, exitUsage, report(&w, context.DeadlineExceeded))
	require.Equal(t, "rendezvous: context deadline exceeded\n", w.String())
	require.Zero(t, report(&w, nil))
}
