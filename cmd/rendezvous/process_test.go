package main

// Programs in processes of their own.

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a running program. It is killed at the end of the test.
type process struct {
	t         testing.TB
	cmd       *exec.Cmd
	out, errs output
	ended     chan struct{}
}

func startProcess(t testing.TB, program string, args ...string) *process {
	t.Helper()
	return startCmd(t, exec.CommandContext(context.Background(), program, args...))
}

func startCmd(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.errs
	require.NoError(t, cmd.Start())
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // its exit status is in ProcessState
	}()
	t.Cleanup(func() { p.signal(syscall.SIGKILL) })
	return p
}

// signal sends a signal that ends the process, and returns its exit status.
func (p *process) signal(s syscall.Signal) int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		p.t.Error("the process does not end")
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// pointProcess is a process that runs serve.
type pointProcess struct {
	*process
	serveLog
}

func startPointProcess(t testing.TB, binary string, args ...string) *pointProcess {
	t.Helper()
	return awaitPointProcess(t, startProcess(t, binary, append([]string{"serve", "--log-format", "json"}, args...)...))
}

// awaitPointProcess waits until a process that runs serve, and logs JSON, serves.
func awaitPointProcess(t testing.TB, p *process) *pointProcess {
	t.Helper()
	point := &pointProcess{process: p}
	waitFor(t, "the point to serve", func() bool {
		select {
		case <-p.ended:
			require.Fail(t, "serve ended", p.errs.String())
		default:
		}
		return point.parse(p.errs.String())
	})
	return point
}

// runBinary runs a command of the binary, which must succeed, and returns its output.
func runBinary(t testing.TB, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", errs.String())
	return out.String()
}

// discoverPeers returns the peers that the binary discovers in a namespace.
func discoverPeers(t testing.TB, binary, point, ns string) []string {
	t.Helper()
	var peers []string
	for line := range strings.Lines(runBinary(t, binary, "discover", "--json", "--point", point, ns)) {
		var f foundPeer
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		peers = append(peers, f.Peer)
	}
	return peers
}
