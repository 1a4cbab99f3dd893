package main

// What a hostile peer chooses does not control the terminal.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// hostileText clears the screen, in two ways, forges a line, and reverses the text.
const hostileText = "x\x1b[2J\u009b2J\n12:00:00  + 12D3KooWForged\r\u202e\x7f"

// startHostilePeer starts a peer whose address and agent are hostileText.
func startHostilePeer(t testing.TB) host.Host {
	t.Helper()
	name, err := ma.NewComponent("dns4", hostileText)
	require.NoError(t, err)
	hostile := name.Multiaddr().Encapsulate(ma.StringCast("/tcp/1"))
	h, err := newClientHost(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.AddrsFactory(func(addrs []ma.Multiaddr) []ma.Multiaddr { return append(addrs, hostile) }),
		libp2p.UserAgent(hostileText),
	)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// requirePrintable fails if text has a character that a terminal does not simply show,
// or a line that a peer has forged.
func requirePrintable(t testing.TB, text string) {
	t.Helper()
	require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f\u0080-\u009f\u202e]", text)
	require.NotRegexp(t, `(?m)^12:00:00`, text)
}

func TestOutputIsPrintable(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	h := startHostilePeer(t)
	infos, err := parsePointAddrs(point.addrs[:1])
	require.NoError(t, err)
	client := rendezvous.NewClient(h, rendezvous.WithPoints(infos...))
	for _, ns := range []string{"news", hostileNamespace} {
		_, err := client.Register(t.Context(), infos[0].ID, ns, 0)
		require.NoError(t, err)
	}
	addrs, err := h.Network().InterfaceListenAddresses()
	require.NoError(t, err)
	i := slices.IndexFunc(addrs, manet.IsIPLoopback) // another is that of relays
	hostilePoint := addrs[i].String() + "/p2p/" + h.ID().String()

	for _, args := range [][]string{
		{"discover", "--all", "--point", point.addrs[0]},
		{"discover", "--all", "--json", "--point", point.addrs[0]},
		{"id", "--point", hostilePoint},
		{"id", "--json", "--point", hostilePoint},
	} {
		out, errs, code := runCommand(t, args...)
		require.Zero(t, code, errs)
		require.Contains(t, out, "12D3KooWForged", "the text is there")
		requirePrintable(t, out)
	}
	for _, format := range []string{"--json=false", "--json"} {
		watch := startCommand(t, "watch", format, "--point", point.addrs[0], "news")
		waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), "12D3KooWForged") })
		watch.stop()
		requirePrintable(t, watch.out.String())
	}
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "a; * b\uFFFD[2J", oneLine("a\n\t* b\x1b[2J"))
	require.Equal(t, "  a\uFFFDb é 語", printable("  a\nb é 語"))

	value := hostileText + "\U000E0001 é \"\\"
	var line output
	require.NoError(t, printJSON(&line, value))
	requirePrintable(t, line.String())
	require.NotContains(t, line.String(), "\U000E0001")
	var back string
	require.NoError(t, json.Unmarshal([]byte(line.String()), &back))
	require.Equal(t, value, back, "the JSON says the same")
}

// TestOutputGoesThroughOneFile: no command prints by itself, and so none forgets to make
// its output printable.
func TestOutputGoesThroughOneFile(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	prints := regexp.MustCompile(`fmt\.F?[Pp]rint(f|ln)?\(|os\.Std(out|err)|\.WriteString\(`)
	for _, file := range files {
		switch {
		case strings.HasSuffix(file, "_test.go"):
		case file == "output.go", file == "progress.go", file == "main.go":
		default:
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			for line := range strings.Lines(string(source)) {
				if !strings.Contains(line, "oneLine(") { // an error
					require.NotRegexp(t, prints, line, file)
				}
			}
		}
	}
}
