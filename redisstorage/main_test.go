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
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// launches are done on a thread that ends with this process and not before: so do
// the servers that are started there, even when a test crashes.
var launches = make(chan func())
