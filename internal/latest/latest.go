// Package latest hands the newest value of something that changes to a reader who may be
// slow.
package latest

import (
	"context"
	"time"
)

// Publish offers the newest value to the reader of out until ctx ends. A token in changed
// says that the value has changed. Changes within an interval are published together.
//
// build builds the present value in the memory of an earlier one that nobody has read, or in
// a zero value, and reports whether it differs from what it built before. The reader owns what it
// receives. Publish does not close out.
func Publish[T any](ctx context.Context, out chan<- T, changed <-chan struct{}, interval time.Duration, build func(*T) (differs bool)) {
	var value, zero T
	var offer chan<- T // out, or nil while there is nothing new
	changes := changed // or nil until the interval is over
	over := time.NewTimer(0)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			changes = changed
		case <-changes:
			if build(&value) {
				offer = out
			}
			changes = nil
			over.Reset(interval)
		case offer <- value:
			offer, value = nil, zero
		case <-ctx.Done():
			return
		}
	}
}
