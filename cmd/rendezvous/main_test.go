package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the run if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// goleveldb drains its buffer pool for up to a second after its database is closed.
		goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
		// A closed Redis client still has a timer for its next refresh of the topology.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.Cleanup(func(code int) {
			_ = os.RemoveAll(buildDir)
			os.Exit(code)
		}))
}

// output collects what a command writes. A test can read it while the command runs.
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

// runCommand runs a command in this process and waits until it ends.
func runCommand(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs output
	code = run(ctx, append([]string{"rendezvous"}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

// runningCommand is a command that runs in this process until it is interrupted.
type runningCommand struct {
	t         testing.TB
	out, errs output
	interrupt context.CancelFunc
	code      int
	ended     chan struct{}
}

// startCommand starts a command, which runs until stop or the end of the test.
func startCommand(t testing.TB, args ...string) *runningCommand {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &runningCommand{t: t, interrupt: cancel, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.code = run(ctx, append([]string{"rendezvous"}, args...), &c.out, &c.errs)
	}()
	t.Cleanup(func() { c.stop() })
	return c
}

// stop interrupts the command, as Ctrl-C does, and returns its exit status.
func (c *runningCommand) stop() int {
	c.t.Helper()
	c.interrupt()
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		c.t.Fatal("the command does not end")
	}
	return c.code
}

func (c *runningCommand) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// testPoint is a running serve command.
type testPoint struct {
	*runningCommand
	serveLog
}

// startTestPoint runs serve on loopback, on ports that the system chooses.
func startTestPoint(t testing.TB, args ...string) *testPoint {
	t.Helper()
	return awaitTestPoint(t, startCommand(t, append([]string{
		"serve",
		"--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0/ws",
		"--key", t.TempDir() + "/key", "--http", "127.0.0.1:0", "--log-format", "json",
	}, args...)...))
}

// awaitTestPoint waits until a serve command, which logs JSON, serves.
func awaitTestPoint(t testing.TB, c *runningCommand) *testPoint {
	t.Helper()
	p := &testPoint{runningCommand: c}
	waitFor(t, "the point to serve", func() bool { return p.parse(c.errs.String()) || c.hasEnded() })
	require.False(t, c.hasEnded(), "serve ended: %s", c.errs.String())
	return p
}

// serveLog is what serve logs when it starts.
type serveLog struct {
	url   string   // of the HTTP endpoint
	addrs []string // for --point
}

// parse parses the log, in JSON, and reports whether the point serves.
func (l *serveLog) parse(log string) bool {
	l.addrs = nil
	for line := range strings.Lines(log) {
		var entry struct {
			Msg     string `json:"msg"`
			URL     string `json:"url"`
			Address string `json:"address"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		switch entry.Msg {
		case "serving HTTP":
			l.url = entry.URL
		case "listening":
			l.addrs = append(l.addrs, entry.Address)
		case "serving":
			return true
		}
	}
	return false
}

// waitFor polls until done returns true. It calls done on the test's own goroutine, so
// done may use require.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "timed out waiting for %s", what)
	}
}

// freeAddr returns a TCP address on loopback on which nothing listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	return port
}
