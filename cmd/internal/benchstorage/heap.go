package main

// The heap of a storage, while it is full and after its registrations have expired.

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func measureHeap(t *targets, what string, n, namespaces int) (err error) {
	s := rendezvous.NewMemoryStorage()
	defer func() { err = errors.Join(err, s.Close()) }()
	empty := liveHeap()
	deadline := time.Now().Add(30 * time.Second)
	if err := newFiller(namespaces).fill(s, n, deadline); err != nil {
		return err
	}
	full := liveHeap()
	overhead := (full-empty)/n - envelopeSize
	t.check(overhead <= 300, "%-40s %6d bytes each in addition to the envelope", fmt.Sprintf("%d in %s", n, what), overhead)

	time.Sleep(time.Until(deadline))
	after := full
	isEmpty := func() bool { return float64(after) <= 1.1*float64(empty) }
	for try := 0; try < 10 && !isEmpty(); try++ { // a busy machine needs more time
		time.Sleep(2 * time.Second)
		after = liveHeap()
	}
	t.check(isEmpty(), "%-40s %6d kB before, %d MB full, %d kB after", "  heap, after all have expired", empty>>10, full>>20, after>>10)
	return nil
}

// liveHeap returns the size of the live heap in bytes.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // the second collection empties the sync.Pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
