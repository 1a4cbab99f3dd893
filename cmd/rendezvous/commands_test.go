package main

// The commands that query points.

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientCommands(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	for _, addr := range point.addrs { // TCP, QUIC and WebSocket
		out, errs, code := runCommand(t, "ping", "--point", addr)
		require.Zero(t, code, errs)
		require.Contains(t, out, "is alive at")
	}
	addr := point.addrs[0]
	register := startCommand(t, "register", "--point", addr, "--listen", "/ip4/127.0.0.1/tcp/0", "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(register.out.String(), "registered at") })
	peerID := strings.Fields(register.out.String())[1] // "registering ID in ..."

	out, errs, code := runCommand(t, "discover", "--point", addr, "news")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^PEER +TTL +ADDRESSES$`, out)
	require.Regexp(t, `(?m)^`+peerID+` +(1\d|20)s +/ip4/127\.0\.0\.1/tcp/\d+$`, out)

	out, _, code = runCommand(t, "discover", "--point", addr, "--json", "--all")
	require.Zero(t, code)
	var f foundPeer
	require.NoError(t, json.Unmarshal([]byte(out), &f))
	require.Equal(t, peerID, f.Peer)
	require.Equal(t, "news", f.Namespace)

	watch := startCommand(t, "watch", "--point", addr, "news")
	waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), "+ "+peerID) })
	require.Zero(t, register.stop())
	waitFor(t, "the peer to leave", func() bool { return strings.Contains(watch.out.String(), "- "+peerID) })
	require.Zero(t, watch.stop())

	out, _, code = runCommand(t, "id", "--point", addr)
	require.Zero(t, code)
	require.Contains(t, out, "serves /vac/waku/rendezvous/0.0.1")
	for _, a := range point.addrs {
		require.Contains(t, out, a)
	}
	require.Zero(t, point.stop())
}

func TestClientCommandsPrintJSON(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	out, _, code := runCommand(t, "ping", "--point", point.addrs[0], "--json", "--count", "2")
	require.Zero(t, code)
	var p pingResult
	require.NoError(t, json.Unmarshal([]byte(out), &p))
	require.Equal(t, 2, p.Answers)

	register := startCommand(t, "register", "--json", "--point", point.addrs[0], "--listen", "/ip4/127.0.0.1/tcp/0", "news")
	waitFor(t, "the registration", func() bool { return strings.Contains(register.out.String(), `"findable":true`) })
	watch := startCommand(t, "watch", "--json", "--point", point.addrs[0], "news")
	waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), `"event":"joined"`) })

	out, _, code = runCommand(t, "id", "--json", "--point", point.addrs[0])
	require.Zero(t, code)
	var i identity
	require.NoError(t, json.Unmarshal([]byte(out), &i))
	require.Equal(t, []string{"/vac/waku/rendezvous/0.0.1", "/rendezvous/1.0.0"}, i.Serves)
}

// TestProtocolFlag: each command speaks the protocol that it is told to, or else what the
// point speaks.
func TestProtocolFlag(t *testing.T) {
	t.Parallel()
	both := startTestPoint(t, "--standard-id", string(canvasID))
	old := startTestPoint(t, "--standard=false")
	for _, speaks := range [][]string{{"1.0.0"}, {string(canvasID)}, {string(canvasID), "0.0.1"}} {
		var flags []string
		for _, p := range speaks {
			flags = append(flags, "--protocol", p)
		}
		flags = append(flags, "--point", both.addrs[0])
		register := startCommand(t, append([]string{"register", "--listen", "/ip4/127.0.0.1/tcp/0", "--json", "news"}, flags...)...)
		waitFor(t, "the registration", func() bool { return strings.Contains(register.out.String(), `"findable":true`) })
		var s namespaceStateJSON
		last := strings.Split(strings.TrimSpace(register.out.String()), "\n")
		require.NoError(t, json.Unmarshal([]byte(last[len(last)-1]), &s))
		wanted := speaks[0]
		if wanted == "1.0.0" {
			wanted = "/rendezvous/1.0.0"
		}
		require.Equal(t, wanted, s.Points[0].Protocol)
		watch := startCommand(t, append([]string{"watch", "news"}, flags...)...)
		waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), " + ") })
		out, errs, code := runCommand(t, append([]string{"discover", "news"}, flags...)...)
		require.Zero(t, code, errs)
		require.Regexp(t, `2h0m0s|1h59m`, out) // of 2 h, a moment later
		_, errs, code = runCommand(t, append([]string{"ping"}, flags...)...)
		require.Zero(t, code, errs)
		out, errs, code = runCommand(t, append([]string{"bench", "--peers", "4", "--requests", "50", "--duration", "200ms"}, flags...)...)
		require.Zero(t, code, errs)
		require.Contains(t, out, "register")
		require.Zero(t, register.stop())
		require.Zero(t, watch.stop())
		out, errs, code = runCommand(t, append([]string{"discover", "--all"}, flags...)...)
		require.Zero(t, code, errs)
		require.NotContains(t, out, "2h0m0s", "all have unregistered")
	}

	_, errs, code := runCommand(t, "ping", "--count", "1", "--protocol", "1.0.0", "--point", old.addrs[0])
	require.NotZero(t, code)
	require.Contains(t, errs, "protocols not supported")
	_, errs, code = runCommand(t, "ping", "--count", "1", "--point", old.addrs[0])
	require.Zero(t, code, errs)
	out, _, code := runCommand(t, "id", "--point", old.addrs[0])
	require.Zero(t, code)
	require.Contains(t, out, "serves /vac/waku/rendezvous/0.0.1")
	require.NotContains(t, out, "1.0.0")
	out, _, code = runCommand(t, "id", "--protocol", "1.0.0", "--point", old.addrs[0])
	require.Zero(t, code)
	require.Contains(t, out, "serves no rendezvous protocol")
	_, errs, code = runCommand(t, "ping", "--protocol", "2", "--point", old.addrs[0])
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--protocol")
}

// TestDiscoverLongNamespace: the client refuses the namespace, so it is a usage error.
func TestDiscoverLongNamespace(t *testing.T) {
	point := startTestPoint(t)
	_, errs, code := runCommand(t, "discover", "--point", point.addrs[0], strings.Repeat("x", 257))
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "256")
}

func TestBench(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	out, errs, code := runCommand(t, "bench", "--point", point.addrs[0], "--point", point.addrs[1], "--peers", "10", "--requests", "200", "--duration", "1s")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^REQUEST +SENT +OK +REFUSED +FAILED`, out)
	require.Regexp(t, `(?m)^register +\d+ +\d+ +0 +0 `, out)

	out, _, code = runCommand(t, "bench", "--json", "--point", point.addrs[0], "--peers", "4", "--requests", "100", "--duration", "500ms", "--discover", "0")
	require.Zero(t, code)
	var results []result
	require.NoError(t, json.Unmarshal([]byte(out), &results))
	require.Equal(t, 50, results[0].OK)
	require.Zero(t, results[1].Sent)
	require.Positive(t, results[0].P99)
}

func TestBenchReportsRefusals(t *testing.T) {
	point := startTestPoint(t, "--max-registrations", "3")
	args := []string{"bench", "--point", point.addrs[0], "--peers", "5", "--requests", "50", "--duration", "200ms"}
	_, errs, code := runCommand(t, args...)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "is full")
	_, errs, code = runCommand(t, append(args, "--json")...)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "is full")
}

// TestProgressLine: the bar fits into a narrow terminal, however much there is to do.
func TestProgressLine(t *testing.T) {
	require.Equal(t, "measuring  [##########..........]  50%", progressLine("measuring", 1_000_000_000, 2_000_000_000))
	for _, label := range []string{"connecting", "measuring"} {
		for _, done := range []int{0, 1, 9_999, 10_000, 10_001} {
			require.Less(t, len(progressLine(label, done, 10_000)), 40)
		}
	}
	require.Less(t, len(progressLine("connecting", 0, 0)), 40)
}
