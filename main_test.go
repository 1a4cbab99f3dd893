package rendezvous

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	if path := os.Getenv(durabilityChild); path != "" {
		registerUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m,
		// goleveldb's pool drains for up to a second after its database was closed.
		goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
