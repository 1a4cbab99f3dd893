package main

// The heap and the goroutines of the process.

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// A difference in usage below these does not count as growth: libp2p remembers peers that
// have disconnected, and its pools stay as large as they once were.
const (
	slackHeap       = 24 << 20 // bytes
	slackGoroutines = 40
)

type usage struct {
	heap       int64 // bytes, live
	goroutines int
}

func usageNow() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapAlloc), runtime.NumGoroutine()}
}

// exceeds reports whether u is above before by more than the slack.
func (u usage) exceeds(before usage) bool {
	return u.heap-before.heap > slackHeap || u.goroutines-before.goroutines > slackGoroutines
}

// difference describes how much u is above before.
func (u usage) difference(before usage) string {
	return fmt.Sprintf("%d MiB and %d goroutines", (u.heap-before.heap)>>20, u.goroutines-before.goroutines)
}

// watchHeap sends the largest size of the live heap, when ctx has ended.
func watchHeap(ctx context.Context) <-chan int64 {
	largest := make(chan int64, 1)
	go func() {
		var size int64
		for ctx.Err() == nil {
			size = max(size, usageNow().heap)
			pause(ctx, 500*time.Millisecond)
		}
		largest <- size
	}()
	return largest
}
