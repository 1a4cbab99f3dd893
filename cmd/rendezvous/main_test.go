package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the run when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// goleveldb's pool drains for up to a second after its database was closed.
		goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
		// The client of Redis looks at the servers again in a second, and then sees
		// that it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.Cleanup(func(code int) {
			_ = os.RemoveAll(buildDir)
			os.Exit(code)
		}))
}

// output is what a command writes, to be read while it does.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command runs a command to its end.
func command(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs output
	code = run(ctx, append([]string{"rendezvous"}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

// running is a command that goes on until it is interrupted.
type running struct {
	t         testing.TB
	out, errs output
	interrupt context.CancelFunc
	code      int
	ended     chan struct{}
}

// begin runs a command until stop, or the end of the test.
func begin(t testing.TB, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, interrupt: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.code = run(ctx, append([]string{"rendezvous"}, args...), &r.out, &r.errs)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop does what Ctrl-C does, and returns the exit status.
func (r *running) stop() int {
	r.t.Helper()
	r.interrupt()
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		r.t.Fatal("the command does not end")
	}
	return r.code
}

// testPoint is serve, on loopback.
type testPoint struct {
	*running
	url   string   // of its HTTP endpoint
	addrs []string // for --point
}

// beginPoint runs serve on loopback, on ports of the system's choice.
func beginPoint(t testing.TB, args ...string) *testPoint {
	t.Helper()
	r := begin(t, append([]string{
		"serve",
		"--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0/ws",
		"--key", t.TempDir() + "/key", "--http", "127.0.0.1:0", "--log-format", "json",
	}, args...)...)
	p := &testPoint{running: r}
	waitFor(t, "the point to serve", func() bool { return p.read(r.errs.String()) || r.hasEnded() })
	require.False(t, r.hasEnded(), "serve ended: %s", r.errs.String())
	return p
}

func (r *running) hasEnded() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// read takes from a point's log where it is, and reports whether it serves.
func (p *testPoint) read(log string) bool {
	p.addrs = nil
	for line := range strings.Lines(log) {
		var said struct {
			Msg     string `json:"msg"`
			URL     string `json:"url"`
			Address string `json:"address"`
		}
		if json.Unmarshal([]byte(line), &said) != nil {
			continue
		}
		switch said.Msg {
		case "serving HTTP":
			p.url = said.URL
		case "listening":
			p.addrs = append(p.addrs, said.Address)
		case "serving":
			return true
		}
	}
	return false
}

// waitFor returns when something has become true, on the test's own goroutine.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "waited for %s", what)
	}
}
