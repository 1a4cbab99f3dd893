package main

// The flags of serve, and the configuration that they amount to.

import (
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"
)

// defaultListen is TCP, QUIC, and for browsers WebTransport, WebRTC and WebSocket, each
// over IPv4 and IPv6. The transports over UDP share one port, so QUIC, which opens it,
// comes first.
var defaultListen = []string{
	"/ip4/0.0.0.0/tcp/4040", "/ip4/0.0.0.0/tcp/4041/ws",
	"/ip4/0.0.0.0/udp/4040/quic-v1", "/ip4/0.0.0.0/udp/4040/quic-v1/webtransport", "/ip4/0.0.0.0/udp/4040/webrtc-direct",
	"/ip6/::/tcp/4040", "/ip6/::/tcp/4041/ws",
	"/ip6/::/udp/4040/quic-v1", "/ip6/::/udp/4040/quic-v1/webtransport", "/ip6/::/udp/4040/webrtc-direct",
}

func serveFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Usage: "listen on `MULTIADDR`; repeatable", Value: defaultListen, Category: "Network"},
		&cli.StringSliceFlag{Name: "announce", Usage: "announce `MULTIADDR` to peers instead of the listen addresses; repeatable", Category: "Network"},
		&cli.StringSliceFlag{Name: "allow", Usage: "accept connections from `PEER` only: a peer ID, an IP address or a network such as 192.0.2.0/24; repeatable", Category: "Network"},
		&cli.StringSliceFlag{Name: "deny", Usage: "reject connections from `PEER`, even if --allow lists it; repeatable", Category: "Network"},
		keyFlag("Network"),
		pskFlag("Network"),
		&cli.StringFlag{Name: "storage", Usage: "store registrations at `URL`: memory:, leveldb:PATH to keep them across restarts, or redis://HOST:PORT to share them between points", Value: "memory:", Category: "Storage"},
		&cli.StringFlag{Name: "http", Usage: "serve /, /metrics, /healthz and /readyz on `HOST:PORT`; disabled by default", Category: "HTTP"},
		&cli.BoolFlag{Name: "pprof", Usage: "also serve /debug/pprof, whose profiles slow the point down", Category: "HTTP"},
		&cli.DurationFlag{Name: "stop-timeout", Usage: "exit `DURATION` after the signal to stop, even if requests are still being served", Value: 10 * time.Second},
	}
	return slices.Concat(flags, standardFlags(), limitFlags(), loggingFlags())
}

// serveConfig has the values of the flags, parsed and checked.
type serveConfig struct {
	listen, announce []ma.Multiaddr
	psk              pnet.PSK // of a private network, or nil
	gater            *gater
	keyPath          string // absolute
	storageURL       string
	httpAddr         string // empty: no HTTP endpoint
	pprof            bool
	standard         standard
	limits           limits
	maxTTL           time.Duration // 0: the library's default
	stopTimeout      time.Duration
	log              *slog.Logger
}

func newServeConfig(cmd *cli.Command) (*serveConfig, error) {
	c := &serveConfig{
		gater:       new(gater),
		httpAddr:    cmd.String("http"),
		pprof:       cmd.Bool("pprof"),
		maxTTL:      cmd.Duration("max-ttl"),
		stopTimeout: cmd.Duration("stop-timeout"),
	}
	var err error
	if c.keyPath, err = keyPath(cmd); err != nil {
		return nil, err
	}
	if c.storageURL, err = parseStorageURL(cmd.String("storage")); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(c.httpAddr); c.httpAddr != "" && err != nil {
		return nil, usagef("--http %q is not a HOST:PORT such as 127.0.0.1:8080", c.httpAddr)
	}
	if c.stopTimeout < 0 {
		return nil, usagef("--stop-timeout is %s; the minimum is 0s", c.stopTimeout)
	}
	if c.log, err = newLogger(cmd.Root().ErrWriter, cmd.String("log-level"), cmd.String("log-format")); err != nil {
		return nil, err
	}
	for _, v := range unknownVariables(cmd.Root()) {
		c.log.Warn("no flag has this environment variable", "variable", v.name, "nearest", v.nearest)
	}
	if c.psk, err = loadPSK(cmd); err != nil {
		return nil, err
	}
	if c.listen, err = parseListen(cmd, c.psk); err != nil {
		return nil, err
	}
	if !cmd.IsSet("listen") && !hasIPv6() {
		c.log.Warn("this machine has no IPv6; listening on IPv4 only")
		c.listen = withoutIPv6(c.listen)
	}
	if c.announce, err = parseAnnounced(cmd.StringSlice("announce"), c.psk); err != nil {
		return nil, err
	}
	if c.gater.allow, err = parsePeerList("allow", cmd.StringSlice("allow")); err != nil {
		return nil, err
	}
	if c.gater.deny, err = parsePeerList("deny", cmd.StringSlice("deny")); err != nil {
		return nil, err
	}
	if c.standard, err = newStandard(cmd); err != nil {
		return nil, err
	}
	if c.limits, err = newLimits(cmd); err != nil {
		return nil, err
	}
	return c, noArguments(cmd)
}
