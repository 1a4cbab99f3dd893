package main

// What the status page shows of the requests.

import (
	"maps"
	"sync"

	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// requestCounts has numbers of requests since the start.
type requestCounts struct {
	requests   int
	byProtocol map[protocol.ID]int
	refused    map[rendezvous.Reason]int // by reason
}

// tracer is a [rendezvous.MetricsTracer] that counts requests for the status page. Reading
// its counts costs nothing, whereas reading all metrics counts the registrations, which
// asks each server of a shared registry.
type tracer struct {
	rendezvous.MetricsTracer // for Prometheus

	mu     sync.Mutex
	counts requestCounts
}

func newTracer(inner rendezvous.MetricsTracer) *tracer {
	return &tracer{MetricsTracer: inner, counts: requestCounts{
		byProtocol: make(map[protocol.ID]int),
		refused:    make(map[rendezvous.Reason]int),
	}}
}

// RequestAnswered implements [rendezvous.MetricsTracer].
func (t *tracer) RequestAnswered(r rendezvous.RequestAnswered) {
	t.MetricsTracer.RequestAnswered(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.requests++
	t.counts.byProtocol[r.Protocol]++
	if r.Reason != rendezvous.NotRefused {
		t.counts.refused[r.Reason]++
	}
}

// read returns the counts now.
func (t *tracer) read() requestCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return requestCounts{t.counts.requests, maps.Clone(t.counts.byProtocol), maps.Clone(t.counts.refused)}
}
