package main

// A Redis server for a point under attack.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// redisServer is a redis-server that this process has started.
type redisServer struct {
	addr    string
	dir     string
	process *exec.Cmd
}

// startRedis starts a server on loopback that stores nothing on disk, and waits until it
// answers.
func startRedis(ctx context.Context) (*redisServer, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	_, port, _ := net.SplitHostPort(addr)
	s := &redisServer{addr: addr, dir: dir, process: exec.CommandContext(context.WithoutCancel(ctx), "redis-server", //nolint:gosec // the arguments are this program's
		"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--logfile", "log", "--save", "", "--appendonly", "no")}
	if err := s.process.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start redis-server: %w; install it with .ci/deps-redis", err), os.RemoveAll(dir))
	}
	for started := time.Now(); ; pause(ctx, 10*time.Millisecond) {
		_, err := s.send(ctx, "PING")
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil || time.Since(started) > 20*time.Second {
			return nil, errors.Join(fmt.Errorf("wait for redis-server: %w", err), s.close())
		}
	}
}

func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func (s *redisServer) url() string { return "redis://" + s.addr }

// close kills the server.
func (s *redisServer) close() error {
	err := s.process.Process.Kill()
	_ = s.process.Wait() // it was killed
	return errors.Join(err, os.RemoveAll(s.dir))
}

// send sends a command and returns the answer, without the mark of its type.
func (s *redisServer) send(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	switch {
	case strings.HasPrefix(line, "-"):
		return "", fmt.Errorf("redis-server answers %s to %s", line, command)
	case strings.HasPrefix(line, "$"):
		size, err := strconv.Atoi(line[1:])
		if err != nil {
			return "", err
		}
		body := make([]byte, size)
		_, err = io.ReadFull(r, body)
		return string(body), err
	}
	return line, nil
}

// limitMemory makes the server refuse whatever needs more memory than it uses now.
func (s *redisServer) limitMemory(ctx context.Context) error {
	info, err := s.send(ctx, "INFO memory")
	if err != nil {
		return err
	}
	_, used, _ := strings.Cut(info, "used_memory:")
	used, _, _ = strings.Cut(used, "\r")
	if _, err := strconv.Atoi(used); err != nil {
		return fmt.Errorf("memory of redis-server: %w", err)
	}
	_, err = s.send(ctx, "CONFIG SET maxmemory "+used)
	return err
}

// unlimitMemory ends limitMemory.
func (s *redisServer) unlimitMemory(ctx context.Context) error {
	_, err := s.send(ctx, "CONFIG SET maxmemory 0")
	return err
}
