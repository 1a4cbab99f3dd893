package redisstorage

// Servers that tests start and stop.

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
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a redis-server or valkey-server on a port that no other test uses.
type server struct {
	program string
	addr    string
	args    []string
	dir     string
	process *exec.Cmd
}

// startServer starts a server that stores nothing on disk and is killed when the test
// ends. Args are added to its command line.
func startServer(t testing.TB, program string, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v: install it with .ci/deps-redis", err)
	}
	s := &server{program: program, addr: freeAddr(t), args: args, dir: t.TempDir()}
	s.start(t)
	t.Cleanup(func() { s.signal(t, syscall.SIGKILL) })
	return s
}

// start starts the process, for the first time or after it was killed, and waits until it
// answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--logfile", "log",
		"--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
	}, s.args...)
	s.process = exec.Command(s.program, args...) //nolint:noctx // a signal ends it
	killWithThread(s.process)
	started := make(chan error)
	processStarts <- func() { started <- s.process.Start() }
	require.NoError(t, <-started)
	if !assert.Eventually(t, func() bool {
		answer := s.send("PING")
		return answer != "" && !strings.HasPrefix(answer, "-LOADING")
	}, 20*time.Second, 5*time.Millisecond) {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		t.Fatalf("%s on %s does not answer; its log: %s", s.program, s.addr, log)
	}
}

// signal sends the process a signal. After SIGKILL it waits until the process has ended.
func (s *server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal %s: %v", s.program, err)
	}
	if sig == syscall.SIGKILL {
		_ = s.process.Wait() // a process that was killed returns an error
		s.process = nil
	}
}

// send sends a command and returns the first line of the answer, or "" if there is none.
func (s *server) send(command string) string {
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

// cli runs redis-cli and returns its output.
func (s *server) cli(t testing.TB, args ...string) string {
	t.Helper()
	return s.tool(t, "redis-cli", args...)
}

// tool runs a program with the address of the server and returns its output.
func (s *server) tool(t testing.TB, program string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// info returns a field of the server's INFO.
func (s *server) info(t testing.TB, field string) string {
	t.Helper()
	out := s.cli(t, "info")
	found := regexp.MustCompile(`(?m)^` + field + `:(\S+)`).FindStringSubmatch(out)
	require.NotEmpty(t, found, out)
	return found[1]
}

func (s *server) url() string { return "redis://" + s.addr }

// usedAddrs has the addresses that freeAddr has returned.
var usedAddrs sync.Map

// freeAddr returns a free address on loopback. It returns none twice, because a server
// takes a moment to listen. The port is below the range for outgoing connections, so none
// of those can take it in the meantime.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		if _, used := usedAddrs.LoadOrStore(addr, true); used {
			continue
		}
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("found no free port on loopback")
	return ""
}

// cluster has three masters and then their replicas.
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
	}, 30*time.Second, 50*time.Millisecond, "the cluster is not complete")
	return c
}

// url names all members, because a test may have killed some.
func (c cluster) url() string {
	var addrs []string
	for _, s := range c {
		addrs = append(addrs, s.addr)
	}
	return "redis://" + strings.Join(addrs, ",")
}
