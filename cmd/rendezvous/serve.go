package main

// The command serve: starts a point with its HTTP endpoint, and stops both.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const serveDescription = `Listens on TCP and QUIC, and for browsers on WebSocket, WebTransport and WebRTC, until
SIGTERM or Ctrl-C. The first run creates a private key. Later runs use it again, so the
peer ID stays the same.

Keep registrations in memory, to try it out:

   rendezvous serve

Keep registrations across restarts, with metrics and a status page for this machine:

   rendezvous serve --storage leveldb:/var/lib/rendezvous/db --http 127.0.0.1:8080

Share one registry between several points, on Redis or Valkey:

   rendezvous serve --storage redis://:password@10.0.0.1:6379/0

Announce a DNS name, listen on another port, and accept only peers of one network:

   rendezvous serve --listen /ip4/0.0.0.0/tcp/443/ws \
      --announce /dns4/point.example.org/tcp/443/wss --allow 198.51.100.0/24`

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "run a rendezvous point",
		Description: serveDescription,
		Flags:       serveFlags(),
		Action:      serve,
	}
}

func serve(ctx context.Context, cmd *cli.Command) error {
	config, err := newServeConfig(cmd)
	if err != nil {
		return err
	}
	s, err := startServer(ctx, config)
	if err != nil {
		return unlessStopped(ctx, config, err)
	}
	logAddrs(config, s.point)
	config.log.Info("serving", "peer", s.point.host.ID(), "key", config.keyPath, "storage", storageName(config.storageURL), "version", version())
	if config.maxTTL != 0 && config.maxTTL < rendezvous.DefaultTTL {
		config.log.Warn("peers that ask for the usual TTL are refused; peers that use this library do",
			"max_ttl", config.maxTTL, "usual_ttl", rendezvous.DefaultTTL)
	}
	notifySystemd(config.log, "READY=1")

	failed := s.wait(ctx)
	config.log.Info("stopping")
	notifySystemd(config.log, "STOPPING=1")
	if err := runWithin(config.stopTimeout, func() error { return s.stop(ctx) }); err != nil {
		return failf(exitFailed, "stop: %w", err)
	}
	config.log.Info("stopped")
	return failed
}

// unlessStopped returns the error of a start, unless a signal to stop has ended the start,
// which may have to wait for the storage.
func unlessStopped(ctx context.Context, c *serveConfig, err error) error {
	if ctx.Err() == nil {
		return err
	}
	c.log.Info("stopped before it served")
	return nil
}

// logAddrs logs the addresses that the point listens on, and those that it announces
// instead, if there are any.
func logAddrs(c *serveConfig, p *point) {
	listening := p.addrs()
	if len(c.announce) > 0 {
		for _, a := range p.addrs() {
			c.log.Info("announcing", "address", a)
		}
		listening = p.listenAddrs()
	}
	for _, a := range listening {
		c.log.Info("listening", "address", a)
	}
}

// server is a point and its HTTP endpoint.
type server struct {
	point *point
	http  *httpEndpoint // nil without --http
}

// startServer starts everything, or returns an error with nothing left running.
func startServer(ctx context.Context, c *serveConfig) (*server, error) {
	p, err := openPoint(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &server{point: p}
	// The HTTP endpoint starts before the point serves and stops after it, so that
	// /readyz answers meanwhile.
	if c.httpAddr != "" {
		s.http, err = startHTTP(ctx, c, p)
	}
	if err == nil {
		err = p.serve(ctx, c)
	}
	if err != nil {
		_ = s.stop(ctx) // why it cannot start is what matters
		return nil, err
	}
	return s, nil
}

// wait returns nil when ctx ends, or an error when the server cannot go on.
func (s *server) wait(ctx context.Context) error {
	var failed <-chan error // without an HTTP endpoint, nothing can fail
	if s.http != nil {
		failed = s.http.failed
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// stop stops everything, also if ctx has ended.
func (s *server) stop(ctx context.Context) error {
	s.point.stopServing()
	var err error
	if s.http != nil {
		err = s.http.stop(ctx)
	}
	return errors.Join(err, s.point.close())
}

// runWithin runs f and returns its error, or an error after d. In that case f goes on
// running; the process is about to exit.
func runWithin(d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return fmt.Errorf("not finished after %s", d)
	}
}
