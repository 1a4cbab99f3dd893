package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a running program, which is killed at the end of the test if it still is.
type process struct {
	t         testing.TB
	cmd       *exec.Cmd
	out, errs output
	ended     chan struct{}
}

func startProcess(t testing.TB, binary string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(context.Background(), binary, args...), ended: make(chan struct{})}
	p.begin()
	return p
}

func (p *process) begin() {
	p.t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	require.NoError(p.t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit status is in ProcessState
	}()
	p.t.Cleanup(func() { p.signal(syscall.SIGKILL) })
}

// signal sends a signal that ends the process, and returns its exit status.
func (p *process) signal(s syscall.Signal) int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(s) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		p.t.Error("the process does not end")
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// served is serve as a process.
type served struct {
	*process
	at testPoint // where it is
}

func serveProcess(t testing.TB, binary string, args ...string) *served {
	t.Helper()
	return (&served{process: startProcess(t, binary, append([]string{"serve", "--log-format", "json"}, args...)...)}).await()
}

// await returns when the point serves.
func (p *served) await() *served {
	p.t.Helper()
	waitFor(p.t, "the point to serve", func() bool {
		select {
		case <-p.ended:
			require.Fail(p.t, "serve ended", p.errs.String())
		default:
		}
		return p.at.read(p.errs.String())
	})
	return p
}

// ask runs a command to its end and returns what it printed.
func ask(t testing.TB, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", errs.String())
	return out.String()
}

// peersIn returns who is in a namespace, as discover prints it.
func peersIn(t testing.TB, binary, point, ns string) []string {
	t.Helper()
	var peers []string
	for line := range strings.Lines(ask(t, binary, "discover", "--json", "--point", point, ns)) {
		var f found
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		peers = append(peers, f.Peer)
	}
	return peers
}

// TestEndToEnd is what an operator and two users do, each in a process of their own:
// two points, peers that register at both and find each other, a point that is
// killed and comes back with who was registered, and its metrics.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	binary := build(t)
	dir := t.TempDir()
	args := func(name, tcp string) []string {
		return []string{
			"--listen", "/ip4/127.0.0.1/tcp/" + tcp, "--listen", "/ip4/127.0.0.1/udp/" + tcp + "/quic-v1",
			"--key", filepath.Join(dir, name, "key"), "--storage", "leveldb:" + filepath.Join(dir, name, "db"), "--http", "127.0.0.1:0",
		}
	}
	portOne, portTwo := freePort(t), freePort(t)
	one, two := serveProcess(t, binary, args("one", portOne)...), serveProcess(t, binary, args("two", portTwo)...)
	info, err := os.Stat(filepath.Join(dir, "one", "key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	addrOne, addrTwo := one.at.addrs[0], two.at.addrs[0]

	var peers []*process
	for range 2 {
		p := startProcess(t, binary, "register", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--point", addrOne, "--point", addrTwo, "news")
		peers = append(peers, p)
	}
	for _, addr := range []string{addrOne, addrTwo} {
		waitFor(t, "both peers to be found", func() bool { return len(peersIn(t, binary, addr, "news")) == 2 })
	}
	before := peersIn(t, binary, addrOne, "news")
	require.Empty(t, peersIn(t, binary, addrOne, "new"))

	// The peers stop first: only the database can know them after the kill.
	for _, p := range peers {
		require.Zero(t, p.signal(syscall.SIGINT), p.errs.String())
	}
	one.signal(syscall.SIGKILL)
	one = serveProcess(t, binary, args("one", portOne)...)
	require.Equal(t, addrOne, one.at.addrs[0], "the point is who and where it was")
	require.ElementsMatch(t, before, peersIn(t, binary, addrOne, "news"))

	_, body, _ := get(t, one.at.url+"metrics")
	require.Contains(t, body, "libp2p_rendezvous_registrations 2\n")
	require.Contains(t, body, `libp2p_rendezvous_requests_total{status="ok",type="discover"} 1`)
	_, body, _ = get(t, two.at.url+"metrics")
	require.Regexp(t, `libp2p_rendezvous_requests_total\{status="ok",type="register"\} [2-9]`, body)

	require.Zero(t, one.signal(syscall.SIGTERM), one.errs.String())
	require.Contains(t, one.errs.String(), `"msg":"stopped"`)
	require.Zero(t, two.signal(syscall.SIGTERM))
}
