package main

// The heap, the stacks and the goroutines of the process.

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
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

// stacks returns how many bytes the stacks of all goroutines take. The collector shrinks
// them, so it is to be asked often.
func stacks() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// peak is the most that the process has used of its heap, live, and of its stacks, in bytes.
type peak struct{ heap, stacks int64 }

// watchPeak sends the peak when ctx has ended.
func watchPeak(ctx context.Context) <-chan peak {
	largest := make(chan peak, 1)
	go func() {
		var p peak
		for i := 0; ctx.Err() == nil; i++ {
			p.stacks = max(p.stacks, stacks())
			if i%20 == 0 { // it runs the collector
				p.heap = max(p.heap, usageNow().heap)
			}
			pause(ctx, 25*time.Millisecond)
		}
		largest <- p
	}()
	return largest
}
