package latest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPublish: a reader gets the newest value, at most one in an interval. Values that
// nobody reads are built in the same memory, and one that was read is the reader's.
func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		out, changed, ended := make(chan []int, 1), make(chan struct{}, 1), make(chan struct{})
		var current, built atomic.Int64
		var last int64 // that was built
		go func() {
			defer close(ended)
			Publish(ctx, out, changed, interval, func(v *[]int) bool {
				built.Add(1)
				differs := last != current.Load()
				last = current.Load()
				*v = append((*v)[:0], int(last))
				return differs
			})
		}()
		change := func() {
			current.Add(1)
			select {
			case changed <- struct{}{}:
			default:
			}
			synctest.Wait()
		}

		synctest.Wait()
		select {
		case v := <-out:
			require.Fail(t, "a value before any change", v)
		default:
		}

		change()
		first := <-out
		require.Equal(t, []int{1}, first)

		begun := time.Now()
		for range 10 { // all in one interval
			change()
		}
		require.Equal(t, []int{11}, <-out)
		require.Equal(t, interval, time.Since(begun))
		require.EqualValues(t, 2, built.Load())
		require.Equal(t, []int{1}, first)

		for range 10 { // nobody reads
			time.Sleep(interval)
			change()
		}
		time.Sleep(interval)
		require.Equal(t, []int{21}, <-out)
		require.EqualValues(t, 12, built.Load())

		current.Add(-1)
		change()
		select {
		case v := <-out:
			require.Fail(t, "the same value again", v)
		case <-time.After(time.Minute):
		}

		cancel()
		<-ended
		require.Empty(t, out, "the same value at the end")
	})
}

// TestPublishAtTheEnd: the last value is the one at the end, also if it changed just before, and
// whether the one before it was read or not.
func TestPublishAtTheEnd(t *testing.T) {
	for _, read := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			out, changed := make(chan int, 1), make(chan struct{}, 1)
			var current, built int
			go func() {
				defer close(out)
				Publish(ctx, out, changed, time.Second, func(v *int) bool {
					differs := built != current
					built, *v = current, current
					return differs
				})
			}()
			current = 1
			changed <- struct{}{}
			synctest.Wait()
			if read {
				require.Equal(t, 1, <-out)
			}
			current = 2
			cancel()
			synctest.Wait()
			require.Equal(t, 2, <-out)
			_, more := <-out
			require.False(t, more)
		})
	}
}

// TestPublishAllocates: values that nobody reads take no new memory.
func TestPublishAllocates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out, changed, ended := make(chan []int, 1), make(chan struct{}, 1), make(chan struct{})
		memory := make(map[*int]bool)
		go func() {
			defer close(ended)
			Publish(ctx, out, changed, time.Second, func(v *[]int) bool {
				*v = append((*v)[:0], 1)
				memory[&(*v)[0]] = true
				return true
			})
		}()
		for range 10 {
			changed <- struct{}{}
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		require.Len(t, memory, 2, "one to be read and one to build the next in")
		cancel()
		<-ended
	})
}
