package main

// What goes wrong, as one line and an exit status.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Exit statuses. The help of the program says what they mean.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitCannotStart
	exitNoAnswer
	exitRefused
)

// failure is an error with an exit status.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

func usagef(format string, args ...any) error { return failf(exitUsage, format, args...) }

func onUsageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return usagef("%w; see %s --help", err, cmd.FullName())
}

// report tells of an error, in one line whatever is in it, and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w, "rendezvous: %s\n", oneLine(err.Error()))
	return exitStatus(err)
}

func exitStatus(err error) int {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return exitUsage // cli's own, such as a variable that it cannot parse
}

// asked gives an error of a request to a point its exit status.
func asked(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rendezvous.ErrInvalidNamespace):
		return &failure{exitUsage, err} // which the client says before any point can
	case isRefusal(err):
		return &failure{exitRefused, err}
	default:
		return &failure{exitNoAnswer, err}
	}
}

// isRefusal reports whether a point answered, with a no.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*rendezvous.StatusError](err)
	return ok
}

// oneLine is s without line breaks and whatever else would move a cursor about:
// an error may quote another peer.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return printable(strings.Join(lines, "; "))
}

// printable replaces what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
