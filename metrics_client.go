package rendezvous

// The metrics of a client.

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/internal/collectors"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// ClientMetricsTracer is told what a [Client] does. Each method takes one struct per
// thing that happened. All methods may be called concurrently and should return at
// once, because requests wait for them. The structs may get more fields, and the
// interface more methods, in later versions.
type ClientMetricsTracer interface {
	// RequestEnded is called when a request to a point has ended.
	RequestEnded(RequestEnded)
}

// RequestEnded describes a request to a point.
type RequestEnded struct {
	Type  RequestType
	Point peer.ID
	// Protocol is what the point speaks, empty if there was no stream to it.
	Protocol protocol.ID
	// Err is nil, a [*StatusError], or the reason why the point did not answer.
	Err error
	// Duration includes dialling.
	Duration time.Duration
	// TTL is what the point granted in answer to a REGISTER, and otherwise 0.
	TTL time.Duration
	// Checked, Cached and Invalid count the records in an answer to DISCOVER: those
	// whose signature was checked, those whose bytes had been verified before, and
	// those that were left out.
	Checked, Cached, Invalid int
}

// The status labels that statusLabels does not have.
const (
	noAnswer      = "no_answer" // the point did not answer
	invalidCookie = "invalid_cookie"
	otherStatus   = "other" // a status that no protocol has
)

// clientMetrics is the ClientMetricsTracer of Prometheus.
type clientMetrics struct {
	collectors.Set
	requests map[RequestType]clientRequestMetrics
	records  map[string]prometheus.Counter
	points   *prometheus.Desc

	mu         sync.Mutex
	registered map[peer.ID]time.Time // when the last registration at each point ends
}

// clientRequestMetrics are the metrics of one type of request.
type clientRequestMetrics struct {
	duration    prometheus.Observer
	lastSuccess prometheus.Gauge
	statuses    map[string]prometheus.Counter
}

func newClientMetrics() *clientMetrics {
	m := &clientMetrics{
		requests:   make(map[RequestType]clientRequestMetrics),
		registered: make(map[peer.ID]time.Time),
		points:     collectors.Desc("client_registered_points", "Rendezvous points with a live registration of this peer."),
	}
	durations := m.Durations("client_request_duration_seconds", "Time of a request to a point, dialling included.", "type")
	requests := m.CounterVec("client_requests_total", "Requests to points, by type and status; no_answer if there was none.", "type", "status")
	successes := m.GaugeVec("client_last_success_timestamp_seconds", "When a point last answered OK, in Unix time; 0 for never.", "type")
	for _, t := range requestTypes[wire.Standard.ID] {
		r := clientRequestMetrics{
			duration:    durations.WithLabelValues(string(t)),
			lastSuccess: successes.WithLabelValues(string(t)),
			statuses:    make(map[string]prometheus.Counter),
		}
		for _, label := range append(slices.Collect(maps.Values(statusLabels)), noAnswer, invalidCookie, otherStatus) {
			r.statuses[label] = requests.WithLabelValues(string(t), label)
		}
		m.requests[t] = r
	}
	m.records = m.Counters("client_verifications_total", "Records of other peers, by whether they are valid and were checked again.", "result", "checked", "cached", "failed")
	return m
}

func (m *clientMetrics) RequestEnded(e RequestEnded) {
	m.records["checked"].Add(float64(e.Checked))
	m.records["cached"].Add(float64(e.Cached))
	m.records["failed"].Add(float64(e.Invalid))
	r, ok := m.requests[e.Type]
	if !ok {
		return
	}
	r.duration.Observe(e.Duration.Seconds())
	r.statuses[clientStatus(e.Err)].Inc()
	if e.Err != nil {
		return
	}
	r.lastSuccess.SetToCurrentTime()
	if e.Type == RequestRegister {
		m.setRegistered(e.Point, time.Now().Add(e.TTL))
	}
}

// setRegistered records until when the client is registered at a point.
func (m *clientMetrics) setRegistered(point peer.ID, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until.After(m.registered[point]) {
		m.registered[point] = until
	}
}

// clientStatus returns the status of an answer as a label.
func clientStatus(err error) string {
	if err == nil {
		return statusLabels[pb.Message_OK]
	}
	if refused, ok := errors.AsType[*StatusError](err); ok {
		if refused.Status == statusInvalidCookie {
			return invalidCookie
		}
		return cmp.Or(statusLabels[refused.Status], otherStatus)
	}
	return noAnswer
}

// Describe implements [prometheus.Collector].
func (m *clientMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.Set.Describe(ch)
	ch <- m.points
}

// Collect implements [prometheus.Collector].
func (m *clientMetrics) Collect(ch chan<- prometheus.Metric) {
	m.Set.Collect(ch)
	ch <- prometheus.MustNewConstMetric(m.points, prometheus.GaugeValue, float64(m.live()))
}

// live counts the points whose registrations have not ended, and forgets the others.
func (m *clientMetrics) live() int {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.registered, func(_ peer.ID, until time.Time) bool { return !now.Before(until) })
	return len(m.registered)
}

// noClientMetrics is the tracer of a client without metrics.
type noClientMetrics struct{}

func (noClientMetrics) RequestEnded(RequestEnded) {}
