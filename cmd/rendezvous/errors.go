package main

// Errors: one line for the user, and an exit status.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Exit statuses, which appDescription documents.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitCannotStart
	exitNoAnswer
	exitRefused
	exitInterrupted = 130 // what a shell reports for SIGINT
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

// report prints an error, always as one line, and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w, "rendezvous: %s\n", oneLine(err.Error()))
	return exitStatus(err)
}

// warn prints something that does not end the command.
func warn(w io.Writer, text string) { fmt.Fprintf(w, "rendezvous: warning: %s\n", oneLine(text)) }

func exitStatus(err error) int {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return exitUsage // an error of cli itself, such as a variable that it cannot parse
}

// requestError gives the error of a request to a point its exit status.
func requestError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rendezvous.ErrInvalidNamespace):
		return &failure{exitUsage, err} // the client checks the namespace before it sends anything
	case isRefusal(err):
		return &failure{exitRefused, err}
	default:
		return &failure{exitNoAnswer, err}
	}
}

// startError gives its exit status to an error with which KeepRegistered or Watch
// returns at once, before any request.
func startError(err error) error {
	if errors.Is(err, rendezvous.ErrInvalidNamespace) {
		return &failure{exitUsage, err}
	}
	return &failure{exitFailed, err}
}

// endsByItself returns the action of a command that runs until it has its answer. If the
// user interrupts the command, its error says so, and does not say that a point did not
// answer.
func endsByItself(action cli.ActionFunc) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		err := action(ctx, cmd)
		if err != nil && ctx.Err() != nil {
			return failf(exitInterrupted, "interrupted")
		}
		return err
	}
}

// isRefusal reports whether err is a point's answer with a status other than OK.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*rendezvous.StatusError](err)
	return ok
}

// withoutPath returns an error of the operating system without the path, for messages
// that name the path themselves.
func withoutPath(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
