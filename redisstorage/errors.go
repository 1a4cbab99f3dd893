package redisstorage

// What went wrong, in the words of the contract.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// passing are the beginnings of a server's errors that mean: not now.
var passing = []string{
	"LOADING",      // it starts
	"NOSCRIPT",     // it has just started, again and again
	"CLUSTERDOWN",  // it waits for a failover
	"MASTERDOWN",   // it is a replica that waits for one
	"READONLY",     // it was a master until just now
	"UNBLOCKED",    // likewise
	"MOVED", "ASK", // a slot has moved, on and on
	"TRYAGAIN",   // a slot is being moved
	"BUSY",       // somebody's script runs and runs
	"MISCONF",    // it cannot write to its disk
	"NOREPLICAS", // it was told to need some
	"ERR max number of clients reached",
}

// explain turns the error of a call into one of the contract's. What the caller's
// own context has ended is that context's error.
func explain(caller context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := caller.Err(); ended != nil {
		return ended
	}
	answer, ok := rueidis.IsRedisErr(err)
	switch {
	case ok && says(answer, "OOM"):
		return fmt.Errorf("%w: %w", rendezvous.ErrFull, err)
	case ok && says(answer, passing...), !ok && !rueidis.IsParseErr(err):
		return fmt.Errorf("%w: %w", rendezvous.ErrUnreachable, err)
	default:
		return err
	}
}

// says reports whether a server's error is one of those that begin like that, be it
// the command's own or, as Redis 6 has it, one within a script.
func says(answer *rueidis.RedisError, beginnings ...string) bool {
	text := answer.Error()
	for _, b := range beginnings {
		if strings.HasPrefix(text, b) || strings.Contains(text, ": -"+b) {
			return true
		}
	}
	return false
}

// retryable reports whether a call that failed so may succeed at once, over a new
// connection or another node: the server had closed the old one.
func retryable(err error) bool {
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	_, answered := rueidis.IsRedisErr(err)
	return !answered && !rueidis.IsParseErr(err) && !rueidis.IsRedisNil(err)
}
