//go:build unix

// Package examples has the programs that show how to use the library.
package examples

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestExamples starts the programs as their documentation says, from the folder of the
// module, and sees in what they print that they do what they are for.
func TestExamples(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	custom := start(t, "go run ./examples/customstorage")
	join := custom.sees(`^(go run ./examples/gossipsub -point \S+)$`)
	begin(t, join).sees(`^(You are )`)
	point := join[strings.LastIndex(join, " ")+1:]

	// Each is told of the other, and of nobody else.
	watch := "go run ./examples/watch -point /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… -namespace chat"
	one := start(t, watch, "/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…", point)
	two := start(t, watch, "/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…", point)
	require.NotEqual(t, one.sees(` (\S+) joined, at `), two.sees(` (\S+) joined, at `))

	server := start(t, "go run ./examples/server").sees(`^point: +(\S+)$`)
	start(t, "go run ./examples/gossipsub -point ADDRESS", "ADDRESS", server).sees(`^(You are )`)

	// What this one prints is what to type for a second, who then finds the first.
	alice := start(t, "go run ./examples/gossipsub")
	bob := begin(t, alice.sees(`^  (go run \./examples/gossipsub -point \S+)$`))
	me := alice.sees(`^You are (\w+)\.`)
	require.Equal(t, me, bob.sees(`^\* (\w+) is here$`))
}

// TestAllStart: every example is one that TestExamples starts, or the demo, which CI runs.
func TestAllStart(t *testing.T) {
	test, err := os.ReadFile("examples_test.go")
	require.NoError(t, err)
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.Greater(t, len(mains), 4)
	for _, main := range mains {
		command := "go run ./examples/" + filepath.Dir(main)
		require.Contains(t, string(test)+string(makefile), command, "nothing starts it")
	}
}

// program is an example that runs.
type program struct {
	t     *testing.T
	lines *bufio.Scanner
}

// start runs a command that is in the documentation of an example, with what it has in
// the place of something replaced.
func start(t *testing.T, documented string, replace ...string) *program {
	t.Helper()
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	var text strings.Builder
	for _, main := range mains {
		code, err := os.ReadFile(main)
		require.NoError(t, err)
		text.Write(code)
	}
	require.Contains(t, text.String(), documented)
	return begin(t, strings.NewReplacer(replace...).Replace(documented))
}

// begin runs a command until the test ends, when it gets what Ctrl-C sends and has to
// end well. Where it does not, go run says so: its own exit status is 1 either way.
func begin(t *testing.T, command string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // it may have to be built
	args := strings.Fields(command)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0") // as cmd/rendezvous's tests build it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var errs strings.Builder
	cmd.Stderr = &errs
	screen, out, err := os.Pipe()
	require.NoError(t, err)
	in, keys, err := os.Pipe() // on which nobody types
	require.NoError(t, err)
	cmd.Stdout, cmd.Stdin = out, in
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		defer cancel()
		require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
		_, _ = io.Copy(io.Discard, screen)
		_ = cmd.Wait()
		require.NoError(t, ctx.Err(), command)
		require.NotContains(t, errs.String(), "exit status", command)
		for _, f := range []*os.File{screen, in, keys} {
			require.NoError(t, f.Close())
		}
	})
	require.NoError(t, out.Close())
	return &program{t: t, lines: bufio.NewScanner(screen)}
}

// sees waits for a line and returns what its parentheses match.
func (p *program) sees(pattern string) string {
	p.t.Helper()
	for p.lines.Scan() {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(p.lines.Text()); found != nil {
			return found[1]
		}
	}
	require.Fail(p.t, "the program ended", "before it printed %q", pattern)
	return ""
}
