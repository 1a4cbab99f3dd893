package main

// rendezvous serve: flags, and the life of the process.

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const serveDescription = `Listens on TCP, QUIC and WebSocket until SIGTERM or Ctrl-C. On the first run it
makes a key, so that the peer ID stays the same from then on.

Registrations in memory, to try it:

   rendezvous serve

Registrations that survive a restart, metrics and a status page for this machine:

   rendezvous serve --storage leveldb:/var/lib/rendezvous/db --http 127.0.0.1:8080

One registry for several points, on Redis or Valkey:

   rendezvous serve --storage redis://:password@10.0.0.1:6379/0

Behind a name, on other ports, for the peers of one network only:

   rendezvous serve --listen /ip4/0.0.0.0/tcp/443/ws \
      --announce /dns4/point.example.org/tcp/443/wss --allow 198.51.100.0/24`

// defaultListen is TCP, QUIC and WebSocket, IPv4 and IPv6.
var defaultListen = []string{
	"/ip4/0.0.0.0/tcp/4040", "/ip4/0.0.0.0/udp/4040/quic-v1", "/ip4/0.0.0.0/tcp/4041/ws",
	"/ip6/::/tcp/4040", "/ip6/::/udp/4040/quic-v1", "/ip6/::/tcp/4041/ws",
}

func serveCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Usage: "listen on `MULTIADDR`; repeat for more", Value: defaultListen, Category: "Network"},
		&cli.StringSliceFlag{Name: "announce", Usage: "tell peers `MULTIADDR` in place of the addresses listened on; repeat for more", Category: "Network"},
		&cli.StringSliceFlag{Name: "allow", Usage: "let only `PEER` connect: a peer ID, an IP address or a network like 192.0.2.0/24; repeat for more", Category: "Network"},
		&cli.StringSliceFlag{Name: "deny", Usage: "keep out `PEER`, also one that is allowed; repeat for more", Category: "Network"},
		keyFlag("Network"),
		&cli.StringFlag{Name: "storage", Usage: "keep registrations in `URL`: memory:, leveldb:PATH to survive restarts, or redis://HOST:PORT to share them between points", Value: "memory:", Category: "Storage"},
		&cli.StringFlag{Name: "http", Usage: "serve /, /metrics, /healthz and /readyz on `HOST:PORT`; off when empty", Category: "HTTP"},
		&cli.BoolFlag{Name: "pprof", Usage: "serve /debug/pprof as well, which slows a point down for whoever asks", Category: "HTTP"},
		&cli.DurationFlag{Name: "stop-timeout", Usage: "end after `DURATION` of stopping, whatever is under way", Value: 10 * time.Second},
	}
	return &cli.Command{
		Name:        "serve",
		Usage:       "be a rendezvous point",
		Description: serveDescription,
		Flags:       append(append(flags, limitFlags()...), loggingFlags()...),
		Action:      serve,
	}
}

func keyFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:      "key",
		Usage:     "the private key in `FILE`, which is made when it is not there",
		Value:     defaultKeyPath(),
		Category:  category,
		TakesFile: true,
	}
}

func defaultKeyPath() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "rendezvous.key"
	}
	return filepath.Join(dir, "rendezvous", "key")
}

// serveConfig is the flags of serve, checked.
type serveConfig struct {
	listen, announce []ma.Multiaddr
	gater            *gater
	keyPath          string
	storageURL       string
	httpAddr         string
	pprof            bool
	limits           limits
	log              *slog.Logger
}

func newServeConfig(cmd *cli.Command) (*serveConfig, error) {
	c := &serveConfig{
		gater:      new(gater),
		keyPath:    cmd.String("key"),
		storageURL: cmd.String("storage"),
		httpAddr:   cmd.String("http"),
		pprof:      cmd.Bool("pprof"),
	}
	var err error
	if c.keyPath, err = filepath.Abs(c.keyPath); err != nil {
		return nil, usagef("--key %q: %w", cmd.String("key"), err)
	}
	if _, _, err := net.SplitHostPort(c.httpAddr); c.httpAddr != "" && err != nil {
		return nil, usagef("--http %q is no HOST:PORT such as 127.0.0.1:8080", c.httpAddr)
	}
	if c.log, err = newLogger(cmd.Root().ErrWriter, cmd.String("log-level"), cmd.String("log-format")); err != nil {
		return nil, err
	}
	if c.listen, err = parseAddrs("listen", cmd.StringSlice("listen")); err != nil {
		return nil, err
	}
	if !cmd.IsSet("listen") && !hasIPv6() {
		c.log.Warn("this machine has no IPv6: not listening on it")
		c.listen = withoutIPv6(c.listen)
	}
	if c.announce, err = parseAddrs("announce", cmd.StringSlice("announce")); err != nil {
		return nil, err
	}
	if c.gater.allow, err = parsePeerList("allow", cmd.StringSlice("allow")); err != nil {
		return nil, err
	}
	if c.gater.deny, err = parsePeerList("deny", cmd.StringSlice("deny")); err != nil {
		return nil, err
	}
	if c.limits, err = newLimits(cmd); err != nil {
		return nil, err
	}
	if cmd.Args().Present() {
		return nil, usagef("serve takes no argument %q", cmd.Args().First())
	}
	return c, nil
}

func serve(ctx context.Context, cmd *cli.Command) error {
	config, err := newServeConfig(cmd)
	if err != nil {
		return err
	}
	p, err := startPoint(ctx, config)
	if err != nil {
		return err
	}
	for _, a := range p.addrs() {
		config.log.Info("listening", "address", a)
	}
	config.log.Info("serving", "peer", p.host.ID(), "key", config.keyPath, "storage", storageName(config.storageURL), "version", version())
	if most := cmd.Duration("max-ttl"); most != 0 && most < rendezvous.DefaultTTL {
		config.log.Warn("peers that ask for the usual TTL are refused, those of this library among them",
			"max_ttl", most, "usual", rendezvous.DefaultTTL)
	}
	tellSystemd(config.log, "READY=1")

	failed := p.wait(ctx)
	config.log.Info("stopping")
	tellSystemd(config.log, "STOPPING=1")
	if err := within(cmd.Duration("stop-timeout"), p.stop); err != nil {
		return failf(exitFailed, "stop: %w", err)
	}
	config.log.Info("stopped")
	return failed
}

func tellSystemd(log *slog.Logger, state string) {
	if err := notify(state); err != nil {
		log.Warn("systemd was not told", "state", state, "error", err)
	}
}

// within does what may take too long. When it does, the process is about to end,
// and what is left of it with it.
func within(d time.Duration, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return fmt.Errorf("not done after %s", d)
	}
}
