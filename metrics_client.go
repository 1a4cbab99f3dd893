package rendezvous

// What a client does, in numbers.

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// ClientMetricsTracer is told what a [Client] does. All methods may be called at
// the same time and should return at once: requests wait for them.
// Methods may be added to it in later versions.
type ClientMetricsTracer interface {
	// Requested is called when a request of type t to a point has ended, with the
	// time that it took, dialling included. The error is nil, a [*StatusError], or
	// whatever kept the point from answering.
	Requested(t pb.Message_MessageType, err error, took time.Duration)
	// Registered is called when a point has granted a registration.
	Registered(point peer.ID, ttl time.Duration)
	// Verified is called for each record of another peer: err is why it does not
	// hold. It is cached when its bytes had been verified before and were not again.
	Verified(cached bool, err error)
}

// WithClientMetrics registers what the client counts with reg, or with
// [prometheus.DefaultRegisterer] when that is nil. Clients of one registerer are
// counted together.
func WithClientMetrics(reg prometheus.Registerer) ClientOption {
	return func(c *clientConfig) error {
		m, err := registered(reg, newClientMetrics())
		if err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		c.metrics = m
		return nil
	}
}

// WithClientMetricsTracer has t told what the client does, in place of Prometheus.
func WithClientMetricsTracer(t ClientMetricsTracer) ClientOption {
	return func(c *clientConfig) error {
		if t == nil {
			return errors.New("metrics tracer is nil")
		}
		c.metrics = t
		return nil
	}
}

// noAnswer is the status of a request that a point did not answer.
const noAnswer = "no_answer"

// clientMetrics is the ClientMetricsTracer of Prometheus.
type clientMetrics struct {
	collectors
	requests map[pb.Message_MessageType]clientRequestMetrics
	verified byLabel
	points   *prometheus.Desc

	mu         sync.Mutex
	registered map[peer.ID]time.Time // when the last registration at each point ends
}

type clientRequestMetrics struct {
	took     prometheus.Observer
	last     prometheus.Gauge
	statuses byLabel
}

func newClientMetrics() *clientMetrics {
	m := &clientMetrics{
		requests:   make(map[pb.Message_MessageType]clientRequestMetrics),
		registered: make(map[peer.ID]time.Time),
		points:     desc("client_registered_points", "Rendezvous points that hold a live registration of this peer."),
	}
	took := m.histograms("client_request_duration_seconds", "Time a request to a point took, dialling included.", durationBuckets, "type")
	requests := m.counterVec("client_requests_total", "Requests to points, by type and status; no_answer when there was none.", "type", "status")
	last := m.gaugeVec("client_last_success_timestamp_seconds", "When a point last answered OK, in Unix time; 0 for never.", "type")
	for _, t := range requestTypes {
		r := clientRequestMetrics{
			took:     took.WithLabelValues(typeLabel(t)),
			last:     last.WithLabelValues(typeLabel(t)),
			statuses: byLabel{noAnswer: requests.WithLabelValues(typeLabel(t), noAnswer)},
		}
		for _, label := range statusLabels {
			r.statuses[label] = requests.WithLabelValues(typeLabel(t), label)
		}
		m.requests[t] = r
	}
	m.verified = m.counters("client_verifications_total", "Records of other peers, by whether they held and were checked again.", "result", "checked", "cached", "failed")
	return m
}

func (m *clientMetrics) Requested(t pb.Message_MessageType, err error, took time.Duration) {
	r, ok := m.requests[t]
	if !ok {
		return
	}
	r.took.Observe(took.Seconds())
	r.statuses[clientStatus(err)].Inc()
	if err == nil {
		r.last.SetToCurrentTime()
	}
}

// clientStatus is the status of a request's answer, as a label.
func clientStatus(err error) string {
	if err == nil {
		return statusLabel(pb.Message_OK)
	}
	if refused, ok := errors.AsType[*StatusError](err); ok {
		if label := statusLabel(refused.Status); label != "" {
			return label
		}
	}
	return noAnswer
}

func (m *clientMetrics) Registered(point peer.ID, ttl time.Duration) {
	until := time.Now().Add(ttl)
	m.mu.Lock()
	defer m.mu.Unlock()
	if until.After(m.registered[point]) {
		m.registered[point] = until
	}
}

func (m *clientMetrics) Verified(cached bool, err error) {
	if err != nil {
		m.verified["failed"].Inc()
		return
	}
	m.verified[verifiedLabel(cached)].Inc()
}

// Describe and Collect make it one [prometheus.Collector].
func (m *clientMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.collectors.Describe(ch)
	ch <- m.points
}

func (m *clientMetrics) Collect(ch chan<- prometheus.Metric) {
	m.collectors.Collect(ch)
	ch <- prometheus.MustNewConstMetric(m.points, prometheus.GaugeValue, float64(m.live()))
}

// live forgets the points whose registrations have ended and counts the others.
func (m *clientMetrics) live() int {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.registered, func(_ peer.ID, until time.Time) bool { return !now.Before(until) })
	return len(m.registered)
}

// noClientMetrics is the tracer of a client that has none.
type noClientMetrics struct{}

func (noClientMetrics) Requested(pb.Message_MessageType, error, time.Duration) {}
func (noClientMetrics) Registered(peer.ID, time.Duration)                      {}
func (noClientMetrics) Verified(bool, error)                                   {}
