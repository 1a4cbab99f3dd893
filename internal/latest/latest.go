// Package latest hands the newest value of something that changes to a reader who may be
// slow.
package latest

import (
	"context"
	"time"
)

// Publish puts the newest value into out until ctx ends, and last the value at that time. out has
// room for one value, and nobody else sends to it. A token in changed says that the value has
// changed. Changes within an interval are published together.
//
// build builds the present value in the memory of an earlier one that nobody has read, or in
// a zero value, and reports whether it differs from what it built before. The reader owns what it
// receives. Publish does not close out.
func Publish[T any](ctx context.Context, out chan T, changed <-chan struct{}, interval time.Duration, build func(*T) (differs bool)) {
	var value T
	publish := func() {
		if !build(&value) {
			return
		}
		var unread T
		select {
		case unread = <-out:
		default:
		}
		out <- value // does not block: there is room for it
		value = unread
	}
	changes := changed // or nil until the interval is over
	over := time.NewTimer(0)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			changes = changed
		case <-changes:
			publish()
			changes = nil
			over.Reset(interval)
		case <-ctx.Done():
			publish()
			return
		}
	}
}
