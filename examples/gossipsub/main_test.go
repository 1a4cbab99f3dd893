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

// terminal is a run of the program with somebody to type and to read.
type terminal struct {
	t     *testing.T
	keys  *io.PipeWriter
	lines *bufio.Scanner
	ended chan error
}

func open(t *testing.T, args ...string) *terminal {
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

// sees waits for a line and returns what its parentheses match.
func (term *terminal) sees(pattern string) []string {
	term.t.Helper()
	for term.lines.Scan() {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(term.lines.Text()); found != nil {
			return found
		}
	}
	require.Fail(term.t, "the program ended", "before it wrote %q", pattern)
	return nil
}

// leave ends the input and waits for the program.
func (term *terminal) leave() {
	term.t.Helper()
	require.NoError(term.t, term.keys.Close())
	go func() { _, _ = io.Copy(io.Discard, neverEnding{term.lines}) }()
	require.NoError(term.t, <-term.ended)
}

// neverEnding reads on after what a scanner has taken.
type neverEnding struct{ *bufio.Scanner }

func (n neverEnding) Read([]byte) (int, error) {
	if n.Scan() {
		return 0, nil
	}
	return 0, io.EOF
}

// TestChat: two who know only the point's address talk to each other.
func TestChat(t *testing.T) {
	alice := open(t)
	point := alice.sees(`-point (\S+)`)[1]
	alice.sees("You are")
	bob := open(t, "-point", point)
	bobsName := bob.sees("You are (.{6})")[1]
	alice.sees(regexp.QuoteMeta(bobsName) + " is here")
	// What is said in the moment in which two connect may be lost, as in any
	// gossipsub: alice says it until she is heard.
	heard := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		for {
			alice.typeLine("hello, bob")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-heard:
				return
			}
		}
	})
	bob.sees("hello, bob")
	close(heard)
	talking.Wait()
	bob.leave()
	alice.leave()
}

func TestBadAddress(t *testing.T) {
	err := run(t.Context(), []string{"-point", "nowhere"}, strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, `-point "nowhere"`)
}

func TestSurplusArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, strings.NewReader(""), io.Discard), `no argument "nowhere"`)
}
