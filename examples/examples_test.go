//go:build unix

// Package examples tests the example programs in its subdirectories.
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

// TestExamples starts the programs with the commands of their documentation, from the
// root of the module, and checks what they print.
func TestExamples(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	custom := startDocumented(t, "go run ./examples/customstorage")
	command := custom.waitForLine(`^(go run ./examples/gossipsub -point \S+)$`)
	start(t, command).waitForLine(`^(You are )`)
	point := command[strings.LastIndex(command, " ")+1:]

	// Each of two watchers sees the other one, and does not see itself.
	watch := "go run ./examples/watch -point /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… -namespace chat"
	one := startDocumented(t, watch, "/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…", point)
	two := startDocumented(t, watch, "/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…", point)
	require.NotEqual(t, one.waitForLine(` (\S+) joined, at `), two.waitForLine(` (\S+) joined, at `))

	server := startDocumented(t, "go run ./examples/server").waitForLine(`^point: +(\S+)$`)
	startDocumented(t, "go run ./examples/gossipsub -point ADDRESS", "ADDRESS", server).waitForLine(`^(You are )`)

	// The first peer prints the command that starts a second one.
	alice := startDocumented(t, "go run ./examples/gossipsub")
	bob := start(t, alice.waitForLine(`^  (go run \./examples/gossipsub -point \S+)$`))
	name := alice.waitForLine(`^You are (\w+)\.`)
	require.Equal(t, name, bob.waitForLine(`^\* (\w+) is here$`))
}

// TestAllExamplesAreTested: TestExamples starts every example except the demo, which has a
// make target.
func TestAllExamplesAreTested(t *testing.T) {
	test, err := os.ReadFile("examples_test.go")
	require.NoError(t, err)
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.Greater(t, len(mains), 4)
	for _, main := range mains {
		command := "go run ./examples/" + filepath.Dir(main)
		require.Contains(t, string(test)+string(makefile), command, "no test starts it")
	}
}

// program is a running example.
type program struct {
	t     *testing.T
	lines *bufio.Scanner
}

// startDocumented starts a command from the documentation of an example, after replacing
// its placeholders.
func startDocumented(t *testing.T, documented string, replace ...string) *program {
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
	return start(t, strings.NewReplacer(replace...).Replace(documented))
}

// start starts a command. At the end of the test it interrupts the command, which must
// then exit with 0. The exit status of "go run" is always 1 after an interrupt, but if the
// program fails, "go run" also prints its exit status.
func start(t *testing.T, command string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // includes building it
	args := strings.Fields(command)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0") // as in the tests of cmd/rendezvous, which share the build cache
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var errs strings.Builder
	cmd.Stderr = &errs
	screen, out, err := os.Pipe()
	require.NoError(t, err)
	in, keys, err := os.Pipe() // an input without data, which stays open
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

// waitForLine waits for a line that matches, and returns its first submatch.
func (p *program) waitForLine(pattern string) string {
	p.t.Helper()
	for p.lines.Scan() {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(p.lines.Text()); found != nil {
			return found[1]
		}
	}
	require.Fail(p.t, "the program ended", "no line matches %q", pattern)
	return ""
}
