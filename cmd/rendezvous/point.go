package main

// A rendezvous point: a libp2p host, a storage and the service.

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

// point is first opened, then serves, and is closed in the end.
type point struct {
	host    host.Host
	storage rendezvous.Storage
	service *rendezvous.RendezvousService // nil until it serves
	started time.Time
	ready   atomic.Bool // it serves, and listens on all addresses

	metrics *prometheus.Registry
	tracer  *tracer
	crowds  *crowds
	sameKey *sameKey

	closeStorage func() error
}

// openPoint opens the host and the storage of a point. The host does not listen yet.
func openPoint(ctx context.Context, c *serveConfig) (*point, error) {
	p := &point{started: time.Now(), metrics: prometheus.NewRegistry()}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	inner, err := rendezvous.NewMetricsTracer(p.metrics)
	if err != nil {
		return nil, failf(exitCannotStart, "start the metrics: %w", err)
	}
	p.tracer = newTracer(inner)
	if p.host, err = newPointHost(c, p.metrics); err != nil {
		return nil, err
	}
	p.crowds = &crowds{network: p.host.Network()}
	p.metrics.MustRegister(p.crowds)
	if p.storage, p.closeStorage, err = openStorage(ctx, c.storageURL, p.metrics); err != nil {
		_ = p.host.Close() // why the storage cannot be opened is what matters
		return nil, err
	}
	p.sameKey = newSameKey(c.log, c.keyPath, p.host.ID(), p.storage)
	p.metrics.MustRegister(p.sameKey)
	return p, nil
}

// buildInfo returns a metric with the version as a label.
func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace:   "libp2p_rendezvous",
		Name:        "build_info",
		Help:        "Always 1; the label is the version.",
		ConstLabels: prometheus.Labels{"version": version()},
	}, func() float64 { return 1 })
}

func newPointHost(c *serveConfig, reg prometheus.Registerer) (host.Host, error) {
	key, err := loadKey(c.keyPath)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, failf(exitCannotStart, "key file %s: %w", c.keyPath, err)
	}
	announce, err := withoutID(c.announce, id)
	if err != nil {
		return nil, err
	}
	connections, err := connmgr.NewConnManager(c.limits.connections*9/10, c.limits.connections)
	if err != nil {
		return nil, failf(exitCannotStart, "start the connection manager: %w", err)
	}
	resources, err := newResourceManager(c.limits, c.standard.ids, c.log)
	if err != nil {
		return nil, errors.Join(err, connections.Close())
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // serve listens
		libp2p.DisableRelay(),
		libp2p.PrivateNetwork(c.psk),
		libp2p.ConnectionGater(c.gater),
		libp2p.ConnectionManager(connections),
		libp2p.ResourceManager(resources),
		libp2p.PrometheusRegisterer(reg),
		userAgent(),
	}
	if len(announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return announce }))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, failf(exitCannotStart, "start a libp2p host: %w", err)
	}
	return h, nil
}

// serve starts the service, and then listens.
func (p *point) serve(ctx context.Context, c *serveConfig) error {
	options := slices.Concat(c.limits.service, c.standard.service, []rendezvous.ServiceOption{rendezvous.WithMetricsTracer(p.tracer)})
	service := rendezvous.NewRendezvousService(p.host, p.storage, options...)
	if err := service.Start(); err != nil {
		return &failure{exitUsage, err} // a limit is out of range
	}
	p.service = service
	if err := listen(p.host, c.listen); err != nil {
		return err
	}
	p.sameKey.start(ctx)
	p.ready.Store(true)
	return nil
}

// addrs returns the addresses that the point announces, in the form that --point takes.
func (p *point) addrs() []ma.Multiaddr { return p.withID(p.host.Addrs()) }

// listenAddrs returns the addresses that the point listens on, in the same form.
func (p *point) listenAddrs() []ma.Multiaddr {
	addrs, err := p.host.Network().InterfaceListenAddresses()
	if err != nil {
		addrs = p.host.Network().ListenAddresses() // with 0.0.0.0 instead of each interface
	}
	return p.withID(addrs)
}

func (p *point) withID(addrs []ma.Multiaddr) []ma.Multiaddr {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p.host.ID(), Addrs: addrs})
	if err != nil {
		return nil // only if an address has the ID of another peer, which a host's own do not
	}
	return addrs
}

// checkReady returns an error if the point would not serve a request now.
func (p *point) checkReady(ctx context.Context) error {
	if !p.ready.Load() {
		return errors.New("not serving")
	}
	if _, err := p.storage.Counts(ctx); err != nil {
		return errors.New("storage does not answer")
	}
	return nil
}

// stopServing stops the service, if it was started.
func (p *point) stopServing() {
	p.ready.Store(false)
	p.sameKey.stop()
	if p.service != nil {
		p.service.Stop()
	}
}

func (p *point) close() error {
	return errors.Join(p.closeStorage(), p.host.Close())
}
