package main

// The resource limits of a point's host.

import (
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// connectionMemory is what yamux reserves for a connection. It uses less.
const connectionMemory = 256 << 10

// newResourceManager returns a resource manager with the limits of libp2p, except for
// connections and for the rendezvous protocols, including ids. libp2p's defaults are
// for ordinary peers: they allow a few hundred connections, and eight from one
// address.
func newResourceManager(l limits, ids []protocol.ID, log *slog.Logger) (network.ResourceManager, error) {
	config := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&config)
	rendezvous.Limits(&config, ids...)
	scaled := config.AutoScale()

	// The connection manager closes idle connections above l.connections only after a
	// grace period. Until then there may be a quarter more.
	maxConns := rcmgr.LimitVal(l.connections + l.connections/4)
	partial := scaled.ToPartialLimitConfig()
	// Without memory for all of them, whole connections would end.
	memory := partial.System.Memory + rcmgr.LimitVal64(maxConns)*connectionMemory
	overrides := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Memory: memory,
			Conns:  maxConns, ConnsInbound: maxConns, FD: maxConns,
			Streams: 8 * maxConns, StreamsInbound: 8 * maxConns,
		},
	}
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(overrides.Build(scaled)),
		rendezvous.ConnLimits(l.connectionsPerIP)...)
	if err != nil {
		return nil, failf(exitCannotStart, "start the resource manager: %w", err)
	}
	return &refusalLogger{ResourceManager: manager, log: log}, nil
}

// refusalLogger is a resource manager that logs how many connections it refuses, at most
// once a minute. Peers see only that their connection ends.
type refusalLogger struct {
	network.ResourceManager
	log *slog.Logger

	mu    sync.Mutex
	count int
	last  time.Time
}

func (r *refusalLogger) OpenConnection(dir network.Direction, usefd bool, endpoint ma.Multiaddr) (network.ConnManagementScope, error) {
	scope, err := r.ResourceManager.OpenConnection(dir, usefd, endpoint)
	if err != nil && dir == network.DirInbound {
		if n, due := r.refused(time.Now()); due {
			r.log.Warn("connections refused; see --max-connections and --max-connections-per-ip", "error", err, "times", n)
		}
	}
	return scope, err
}

// GetConnLimit returns the limit on connections, to which libp2p compares that of its
// connection manager.
func (r *refusalLogger) GetConnLimit() int {
	if l, ok := r.ResourceManager.(connmgr.GetConnLimiter); ok {
		return l.GetConnLimit()
	}
	return math.MaxInt
}

// refused counts a refused connection. It reports whether a line is due, and for how many.
func (r *refusalLogger) refused(now time.Time) (n int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		return 0, false
	}
	n, r.count, r.last = r.count, 0, now
	return n, true
}
