package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// storages are those of the points, one point for each.
var storages = []string{"memory", "LevelDB", "Redis"}

// world is what the clients need: points, one for each storage, and a browser.
type world struct {
	binary   string // the rendezvous command
	programs string // the directory of the clients' and the server's programs
	dir      string // for logs and databases

	redis   *process
	points  map[string]*point // by storage
	browser *browser
}

func (w *world) open(ctx context.Context, page string) error {
	redis, err := w.startRedis(ctx)
	if err != nil {
		return err
	}
	urls := map[string]string{
		"memory":  "memory:",
		"LevelDB": "leveldb:" + filepath.Join(w.dir, "db"),
		"Redis":   "redis://" + redis,
	}
	w.points = make(map[string]*point)
	for _, storage := range storages {
		p, err := startPoint(ctx, w.binary, filepath.Join(w.dir, storage), urls[storage])
		if err != nil {
			return err
		}
		w.points[storage] = p
	}
	w.browser, err = startBrowser(ctx, page, filepath.Join(w.dir, "profile"))
	return err
}

// startRedis starts an empty Redis and returns its address.
func (w *world) startRedis(ctx context.Context) (string, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("%w: .ci/deps-redis installs it", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil || !ok {
		return "", fmt.Errorf("find a free port: %w", errors.Join(err, errors.ErrUnsupported))
	}
	w.redis, err = startProcess(ctx, filepath.Join(w.dir, "redis.log"), nil, program,
		"--bind", "127.0.0.1", "--port", strconv.Itoa(addr.Port), "--dir", w.dir, "--save", "", "--hz", "100")
	if err != nil {
		return "", err
	}
	return addr.String(), await(ctx, "Redis to listen", 20*time.Second, func() error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return errors.Join(err, w.redis.hasEnded())
		}
		return c.Close()
	})
}

func (w *world) close() {
	if w.browser != nil {
		w.browser.close()
	}
	for _, p := range w.points {
		p.process.stop()
	}
	if w.redis != nil {
		w.redis.stop()
	}
}

// The kinds of client.
const (
	nodeClient = "Node"
	pageClient = "Chromium"
)

// newClient starts a program of a kind of client.
func (w *world) newClient(ctx context.Context, kind, log string) (*client, error) {
	if kind == nodeClient {
		n, err := startNode(ctx, w.programs, "node.js", filepath.Join(w.dir, log))
		if err != nil {
			return nil, err
		}
		return &client{at: n}, nil
	}
	p, err := w.browser.openPage()
	if err != nil {
		return nil, err
	}
	return &client{at: p}, nil
}

// newServer starts a program of a server.
func (w *world) newServer(ctx context.Context, log string) (*client, error) {
	n, err := startNode(ctx, w.programs, "server.js", filepath.Join(w.dir, log))
	if err != nil {
		return nil, err
	}
	return &client{at: n}, nil
}
