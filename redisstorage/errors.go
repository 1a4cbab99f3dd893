package redisstorage

// Errors of calls to the servers.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

var errUnexpected = errors.New("unexpected answer from the server")

// temporaryErrors are prefixes of error messages of servers that cannot serve a call
// now, but may be able to later.
var temporaryErrors = []string{
	"LOADING",      // it is starting
	"NOSCRIPT",     // it started after it was sent the script
	"CLUSTERDOWN",  // a failover is under way
	"MASTERDOWN",   // it is a replica without a master
	"READONLY",     // it was a master until a moment ago
	"UNBLOCKED",    // likewise
	"MOVED", "ASK", // the slot has moved, and the client gave up following it
	"TRYAGAIN",   // the slot is moving
	"BUSY",       // another script is running
	"MISCONF",    // it cannot write to its disk
	"NOREPLICAS", // it has fewer replicas than it is configured to need
	"ERR max number of clients reached",
}

// callError returns the error of a call to the servers in terms of the contract of
// [rendezvous.Storage]. If the context of the caller has ended, it is the error of that
// context.
func callError(caller context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := caller.Err(); ended != nil {
		return ended
	}
	return classify(err)
}

// classify wraps err in [rendezvous.ErrFull] or [rendezvous.ErrUnreachable] if that is
// what it means.
func classify(err error) error {
	answer, ok := rueidis.IsRedisErr(err)
	switch {
	case ok && hasPrefix(answer, "OOM"):
		return fmt.Errorf("%w: %w", rendezvous.ErrFull, err)
	case ok && hasPrefix(answer, temporaryErrors...), !ok && !rueidis.IsParseErr(err):
		return fmt.Errorf("%w: %w", rendezvous.ErrUnreachable, err)
	default:
		return err
	}
}

// hasPrefix reports whether the error message of a server begins with one of prefixes.
// Redis 6 quotes the message of a command that failed inside a script.
func hasPrefix(answer *rueidis.RedisError, prefixes ...string) bool {
	message := answer.Error()
	for _, prefix := range prefixes {
		if strings.HasPrefix(message, prefix) || strings.Contains(message, ": -"+prefix) {
			return true
		}
	}
	return false
}

// retryable reports whether a call that failed with err may succeed at once on a new
// connection or at another node. That is so if the server closed the connection.
func retryable(err error) bool {
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	_, answered := rueidis.IsRedisErr(err)
	return !answered && !rueidis.IsParseErr(err) && !rueidis.IsRedisNil(err)
}
