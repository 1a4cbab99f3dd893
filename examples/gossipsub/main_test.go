package main

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// terminal runs the program with a simulated user, who types and reads.
type terminal struct {
	t     *testing.T
	keys  *io.PipeWriter
	quit  context.CancelFunc // Ctrl-C
	lines *bufio.Scanner
	ended chan error
}

func startTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	in, keys := io.Pipe()
	screen, out := io.Pipe()
	tm := &terminal{t: t, keys: keys, quit: cancel, lines: bufio.NewScanner(screen), ended: make(chan error, 1)}
	tm.lines.Buffer(nil, 2*maxLine)
	go func() {
		err := run(ctx, args, in, out)
		_ = out.Close()
		tm.ended <- err
	}()
	return tm
}

func (tm *terminal) typeLine(s string) {
	tm.t.Helper()
	_, err := io.WriteString(tm.keys, s+"\n")
	require.NoError(tm.t, err)
}

// waitForLine waits for a line that matches, and returns its submatches.
func (tm *terminal) waitForLine(pattern string) []string {
	tm.t.Helper()
	for tm.lines.Scan() {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(tm.lines.Text()); found != nil {
			return found
		}
	}
	require.Fail(tm.t, "the program ended", "no line matches %q", pattern)
	return nil
}

// stop presses Ctrl-C and waits for the program.
func (tm *terminal) stop() {
	tm.t.Helper()
	tm.quit()
	go func() { // read the rest of the output, so that no write blocks
		for tm.lines.Scan() {
		}
	}()
	require.NoError(tm.t, <-tm.ended)
}

// TestChat: two peers that know only the address of the point exchange a message.
func TestChat(t *testing.T) {
	alice := startTerminal(t)
	point := alice.waitForLine(`-point (\S+)`)[1]
	alice.waitForLine("You are")
	bob := startTerminal(t, "-point", point)
	bobsName := bob.waitForLine("You are (.{6})")[1]
	alice.waitForLine(regexp.QuoteMeta(bobsName) + " is here")
	// A message can be lost while the two peers are connecting, so alice repeats it until
	// bob has received it.
	received := make(chan struct{})
	var typing sync.WaitGroup
	typing.Go(func() {
		for {
			alice.typeLine("hello, bob")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-received:
				return
			}
		}
	})
	bob.waitForLine("hello, bob")
	close(received)
	typing.Wait()
	bob.stop()
	alice.stop()
}

// TestInputEnds: without an input, the program still shows what others write. A line may
// be long.
func TestInputEnds(t *testing.T) {
	alice := startTerminal(t)
	point := alice.waitForLine(`-point (\S+)`)[1]
	alicesName := alice.waitForLine("You are (.{6})")[1]
	require.NoError(t, alice.keys.Close())
	bob := startTerminal(t, "-point", point)
	bob.waitForLine(regexp.QuoteMeta(alicesName) + " is here")
	alice.waitForLine("is here")
	long := strings.Repeat("x", 100_000)
	bob.typeLine(long)
	require.Len(t, alice.waitForLine(`"(x+)"$`)[1], len(long))
	bob.stop()
	alice.stop()
}

// TestLineTooLong: a line that is too long is an error.
func TestLineTooLong(t *testing.T) {
	err := run(t.Context(), nil, strings.NewReader(strings.Repeat("x", maxLine+1)), io.Discard)
	require.ErrorContains(t, err, "at most 524288 bytes")
}

func TestBadAddress(t *testing.T) {
	err := run(t.Context(), []string{"-point", "nowhere"}, strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, `-point "nowhere"`)
}

func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, strings.NewReader(""), io.Discard), `unexpected argument "nowhere"`)
}
