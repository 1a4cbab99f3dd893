package main

// A running point: a host, a storage, the service, the HTTP endpoint.

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

type point struct {
	host    host.Host
	storage rendezvous.Storage
	started time.Time
	ready   atomic.Bool

	process *prometheus.Registry // metrics of the process and of libp2p
	metrics *prometheus.Registry // metrics of the service

	failed  chan error // what ends the point while it serves
	closers []func() error
}

// startPoint starts all that a point is, or nothing.
func startPoint(ctx context.Context, c *serveConfig) (_ *point, err error) {
	p := &point{
		started: time.Now(),
		process: prometheus.NewRegistry(),
		metrics: prometheus.NewRegistry(),
		failed:  make(chan error, 1),
	}
	defer func() {
		if err != nil {
			_ = p.stop() // what kept it from starting is what matters
		}
	}()
	p.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	if err := p.startHost(c); err != nil {
		return nil, err
	}
	if err := p.openStorage(ctx, c); err != nil {
		return nil, err
	}
	if c.httpAddr != "" { // before the service, to be stopped after it
		if err := p.startHTTP(ctx, c); err != nil {
			return nil, err
		}
	}
	service := rendezvous.NewRendezvousService(p.host, p.storage, append(c.limits.service, rendezvous.WithMetrics(p.metrics))...)
	if err := service.Start(); err != nil {
		return nil, &failure{exitUsage, err} // of a limit that is none
	}
	p.onStop(func() error { service.Stop(); return nil })
	if err := listen(p.host, c.listen); err != nil {
		return nil, err
	}
	p.ready.Store(true)
	return p, nil
}

// buildInfo is a metric that says which version runs.
func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace:   "libp2p_rendezvous",
		Name:        "build_info",
		Help:        "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": version()},
	}, func() float64 { return 1 })
}

func (p *point) startHost(c *serveConfig) error {
	key, err := loadKey(c.keyPath)
	if err != nil {
		return err
	}
	connections, err := connmgr.NewConnManager(c.limits.connections*9/10, c.limits.connections)
	if err != nil {
		return failf(exitCannotStart, "start the connection manager: %w", err)
	}
	resources, err := newResourceManager(c.limits)
	if err != nil {
		return errors.Join(err, connections.Close())
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // see listen
		libp2p.DisableRelay(),
		libp2p.ConnectionGater(c.gater),
		libp2p.ConnectionManager(connections),
		libp2p.ResourceManager(resources),
		libp2p.PrometheusRegisterer(p.process),
		userAgent(),
	}
	if len(c.announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return c.announce }))
	}
	if p.host, err = libp2p.New(opts...); err != nil {
		return failf(exitCannotStart, "start a libp2p host: %w", err)
	}
	p.onStop(p.host.Close)
	return nil
}

func (p *point) openStorage(ctx context.Context, c *serveConfig) error {
	s, closeStorage, err := openStorage(ctx, c.storageURL, p.process)
	if err != nil {
		return err
	}
	p.storage = s
	p.onStop(closeStorage)
	return nil
}

// addrs returns the addresses that others may pass to --point.
func (p *point) addrs() []ma.Multiaddr {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()})
	if err != nil {
		return nil // of an address that is of another peer, which is none of this host's
	}
	return addrs
}

// onStop has stop call f, before what it was to call so far.
func (p *point) onStop(f func() error) { p.closers = append(p.closers, f) }

// wait returns when ctx ends, or when the point cannot go on and why.
func (p *point) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// stop ends what was started, the last first.
func (p *point) stop() error {
	p.ready.Store(false)
	var errs []error
	for _, f := range slices.Backward(p.closers) {
		errs = append(errs, f())
	}
	p.closers = nil
	return errors.Join(errs...)
}
