package redisstorage

import (
	"flag"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	// Most of the time tests wait for time to pass: they can do so together.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	go func() {
		runtime.LockOSThread()
		for launch := range launches {
			launch()
		}
	}()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		// A client that is closed may be about to ask its cluster who is in it: it
		// sleeps up to a second first, and then notices.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// launches are done on a thread that ends with this process and not before: so do
// the servers that are started there, even when a test crashes.
var launches = make(chan func())
