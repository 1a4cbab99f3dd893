package redisstorage

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails the run if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	flag.Parse()
	// Tests mostly wait for servers, so many of them can run at the same time.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	go func() {
		runtime.LockOSThread()
		for start := range processStarts {
			start()
		}
	}()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		// rueidis may sleep for up to a second before it refreshes its view of a
		// cluster, and notices only then that the client is closed.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// processStarts has functions that start server processes. They run on a thread that lives as
// long as this process, because the servers are killed when the thread ends; see
// killWithThread.
var processStarts = make(chan func())

// pause waits in real time, because servers do not run in a bubble with virtual time.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test ended during a pause")
	}
}
