package redisstorage

// Real servers, started and stopped by the tests.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a process of redis-server or valkey-server on a port of its own.
type server struct {
	program string
	addr    string
	args    []string
	dir     string
	process *exec.Cmd
}

// startServer starts a server that ends with the test. More arguments are its
// settings; it keeps nothing on disk.
func startServer(t testing.TB, program string, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v: .ci/deps-redis installs what is missing", err)
	}
	s := &server{program: program, addr: freeAddr(t), args: args, dir: t.TempDir()}
	s.start(t)
	t.Cleanup(func() { s.signal(t, syscall.SIGKILL) })
	return s
}

// start starts the process, again after a signal that has killed it.
func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--logfile", "log",
		"--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
	}, s.args...)
	s.process = exec.Command(s.program, args...) //nolint:noctx // killed by its signal
	endWithThread(s.process)
	started := make(chan error)
	launches <- func() { started <- s.process.Start() }
	require.NoError(t, <-started)
	deadline := time.Now().Add(20 * time.Second)
	for answer := ""; answer == "" || strings.HasPrefix(answer, "-LOADING"); answer = s.say("PING") {
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("%s on %s does not answer: %s", s.program, s.addr, said)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// signal sends the process a signal, and waits for its end where that is one.
func (s *server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal %s: %v", s.program, err)
	}
	if sig == syscall.SIGKILL {
		_ = s.process.Wait() // what was killed ends with an error
		s.process = nil
	}
}

// say sends a command and returns the first line of the answer, "" if none comes.
func (s *server) say(command string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return ""
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// cli runs redis-cli and returns what it prints.
func (s *server) cli(t testing.TB, args ...string) string {
	t.Helper()
	return s.tool(t, "redis-cli", args...)
}

// tool runs a program with the server's address and returns what it prints.
func (s *server) tool(t testing.TB, program string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

func (s *server) url() string { return "redis://" + s.addr }

// freeAddr returns an address of loopback that nobody listens on, and none twice: it
// takes a server a moment until it does. Its port is below those that systems give to
// outgoing connections, one of which could have taken it by then.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		if _, twice := givenAddrs.LoadOrStore(addr, true); twice {
			continue
		}
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no port is free on loopback")
	return ""
}

var givenAddrs sync.Map

// cluster is three masters and then three replicas.
type cluster []*server

func startCluster(t testing.TB, program string) cluster {
	t.Helper()
	var c cluster
	var addrs []string
	for range 6 {
		_, bus, _ := net.SplitHostPort(freeAddr(t))
		s := startServer(t, program, "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-node-timeout", "1500", "--cluster-replica-validity-factor", "0",
			"--repl-diskless-sync-delay", "0")
		c = append(c, s)
		addrs = append(addrs, s.addr)
	}
	create := append([]string{"--cluster", "create"}, addrs...)
	c[0].cli(t, append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	require.Eventually(t, func() bool {
		for _, s := range c {
			if !strings.Contains(s.cli(t, "cluster", "info"), "cluster_state:ok") {
				return false
			}
		}
		for _, s := range c[:3] {
			if !strings.Contains(s.cli(t, "info", "replication"), "state=online") {
				return false
			}
		}
		return true
	}, 30*time.Second, 50*time.Millisecond, "the cluster is complete")
	return c
}

// url names all members: which of them answer is not known.
func (c cluster) url() string {
	var addrs []string
	for _, s := range c {
		addrs = append(addrs, s.addr)
	}
	return "redis://" + strings.Join(addrs, ",")
}
