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
	lines *bufio.Scanner
	ended chan error
}

func startTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	in, keys := io.Pipe()
	screen, out := io.Pipe()
	term := &terminal{t: t, keys: keys, lines: bufio.NewScanner(screen), ended: make(chan error, 1)}
	go func() {
		err := run(ctx, args, in, out)
		_ = out.Close()
		term.ended <- err
	}()
	return term
}

func (term *terminal) typeLine(s string) {
	term.t.Helper()
	_, err := io.WriteString(term.keys, s+"\n")
	require.NoError(term.t, err)
}

// waitForLine waits for a line that matches, and returns its submatches.
func (term *terminal) waitForLine(pattern string) []string {
	term.t.Helper()
	for term.lines.Scan() {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(term.lines.Text()); found != nil {
			return found
		}
	}
	require.Fail(term.t, "the program ended", "no line matches %q", pattern)
	return nil
}

// stop ends the input and waits for the program.
func (term *terminal) stop() {
	term.t.Helper()
	require.NoError(term.t, term.keys.Close())
	go func() { // read the rest of the output, so that no write blocks
		for term.lines.Scan() {
		}
	}()
	require.NoError(term.t, <-term.ended)
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

func TestBadAddress(t *testing.T) {
	err := run(t.Context(), []string{"-point", "nowhere"}, strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, `-point "nowhere"`)
}

func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, strings.NewReader(""), io.Discard), `unexpected argument "nowhere"`)
}
