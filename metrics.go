package rendezvous

// What a point does, in numbers. Labels have a few values each, all known when the
// program starts: a namespace or a peer is never one, for peers choose those and
// could make as many as they like. Counting allocates nothing.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/pb"
)

const metricNamespace = "libp2p_rendezvous"

// MetricsTracer is told what a rendezvous point does. All methods may be called at
// the same time and should return at once: requests wait for them. Methods may be added
// to it in later versions.
type MetricsTracer interface {
	// Started is called when a point begins to serve what s holds, and what it
	// returns when that has ended. Gauges are read from s in between.
	Started(s Storage) (stopped func())
	// StreamOpened is called for each stream, and StreamClosed when it has ended;
	// err is nil when that was in good order.
	StreamOpened()
	StreamClosed(err error)
	// Received is called for each request, with its size on the wire in bytes, and
	// Sent for each part of an answer that was written.
	Received(bytes int)
	Sent(bytes int)
	// Answered is called when the answer to a request of type t is ready, so long
	// after the request was read; refusal is why it was refused, or nil.
	Answered(t pb.Message_MessageType, refusal error, took time.Duration)
	// Sampled is called with how many registrations an answer to DISCOVER holds.
	Sampled(registrations int)
	// Verified is called for each signed peer record that holds; cached when its
	// bytes had been verified before and were not again.
	Verified(cached bool)
	// Stored is called for each Add and Sample, and by the tracer of [WithMetrics] for
	// the Counts that it reads itself.
	Stored(op StorageOp, err error, took time.Duration)
}

// StorageOp is something that is asked of a [Storage].
type StorageOp int

// What is asked of a storage.
const (
	StorageAdd StorageOp = iota
	StorageSample
	StorageCounts
)

func (op StorageOp) String() string {
	if op < 0 || int(op) >= len(storageOps) {
		return fmt.Sprintf("StorageOp(%d)", int(op))
	}
	return storageOps[op]
}

var storageOps = [...]string{StorageAdd: "add", StorageSample: "sample", StorageCounts: "counts"}

// ExpiryCounter is a [Storage] that counts what expires in it. Storages need not be one.
type ExpiryCounter interface {
	// Expired returns how many registrations have ended, without being refreshed
	// in time, since the storage was opened.
	Expired() uint64
}

// WithMetrics registers what the service counts with reg, or with
// [prometheus.DefaultRegisterer] when that is nil. Services of one registerer are
// counted together.
func WithMetrics(reg prometheus.Registerer) ServiceOption {
	return func(c *serviceConfig) error {
		m, err := registered(reg, newServiceMetrics())
		if err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		c.metrics = m
		return nil
	}
}

// WithMetricsTracer has t told what the service does, in place of Prometheus.
func WithMetricsTracer(t MetricsTracer) ServiceOption {
	return func(c *serviceConfig) error {
		if t == nil {
			return errors.New("metrics tracer is nil")
		}
		c.metrics = t
		return nil
	}
}

// registered registers c, or returns the like of it that is registered already.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	if reg == nil {
		reg = prometheus.DefaultRegisterer
	}
	err := reg.Register(c)
	if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := before.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// serviceMetrics is the MetricsTracer of Prometheus. Each combination of labels is
// looked up once, here, and not when something is counted.
type serviceMetrics struct {
	collectors
	open       prometheus.Gauge
	streams    byLabel
	bytes      byLabel
	requests   map[pb.Message_MessageType]requestMetrics
	refused    byLabel
	listed     prometheus.Histogram
	verified   byLabel
	storage    [len(storageOps)]prometheus.Observer
	unstored   [len(storageOps)]prometheus.Counter
	registered *prometheus.Desc
	namespaces *prometheus.Desc
	expired    *prometheus.Desc

	mu      sync.Mutex
	serving []*Storage // what Started was called with, each by an address of its own
}

// requestMetrics is what is counted of one type of request.
type requestMetrics struct {
	took     prometheus.Observer
	statuses map[Status]prometheus.Counter
}

var requestTypes = []pb.Message_MessageType{pb.Message_REGISTER, pb.Message_DISCOVER}

func newServiceMetrics() *serviceMetrics {
	m := &serviceMetrics{
		requests:   make(map[pb.Message_MessageType]requestMetrics),
		registered: desc("registrations", "Registrations that are live."),
		namespaces: desc("namespaces", "Namespaces that hold a live registration."),
		expired:    desc("expired_total", "Registrations that ended without being refreshed in time."),
	}
	m.open = m.gauge("streams", "Streams that are open.")
	m.streams = m.counters("streams_total", "Streams that have ended, by how.", "result", streamResults...)
	m.bytes = m.counters("bytes_total", "Bytes of requests and answers.", "direction", "received", "sent")
	took := m.histograms("request_duration_seconds", "Time from a request read to its answer ready.", durationBuckets, "type")
	requests := m.counterVec("requests_total", "Requests that were answered, by type and status.", "type", "status")
	for _, t := range requestTypes {
		r := requestMetrics{took: took.WithLabelValues(typeLabel(t)), statuses: make(map[Status]prometheus.Counter)}
		for s := range pb.Message_ResponseStatus_name {
			r.statuses[Status(s)] = requests.WithLabelValues(typeLabel(t), statusLabel(Status(s)))
		}
		m.requests[t] = r
	}
	m.refused = m.counters("refused_total", "Requests that were refused, by reason.", "reason", refusalReasons...)
	m.listed = m.histogram("discover_registrations", "Registrations in an answer to DISCOVER.",
		[]float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000})
	m.verified = m.counters("verifications_total", "Signed peer records that hold, by whether they were checked again.", "result", "checked", "cached")
	stored := m.histograms("storage_duration_seconds", "Time a call to the storage took.", durationBuckets, "op")
	failed := m.counterVec("storage_errors_total", "Calls to the storage that failed. A limit that was reached is no failure.", "op")
	for i, op := range storageOps {
		m.storage[i] = stored.WithLabelValues(op)
		m.unstored[i] = failed.WithLabelValues(op)
	}
	return m
}

func (m *serviceMetrics) Started(s Storage) (stopped func()) {
	serving := &s
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serving = append(m.serving, serving)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.serving = slices.DeleteFunc(m.serving, func(other *Storage) bool { return other == serving })
	}
}

func (m *serviceMetrics) StreamOpened() { m.open.Inc() }

func (m *serviceMetrics) StreamClosed(err error) {
	m.open.Dec()
	m.streams[streamResult(err)].Inc()
}

func (m *serviceMetrics) Received(bytes int) { m.bytes["received"].Add(float64(bytes)) }

func (m *serviceMetrics) Sent(bytes int) { m.bytes["sent"].Add(float64(bytes)) }

func (m *serviceMetrics) Answered(t pb.Message_MessageType, refusal error, took time.Duration) {
	r, ok := m.requests[t]
	if !ok {
		return
	}
	r.took.Observe(took.Seconds())
	if refusal == nil {
		r.statuses[pb.Message_OK].Inc()
		return
	}
	status := answerTo(refusal).Status
	r.statuses[status].Inc()
	m.refused[refusalReason(refusal, status)].Inc()
}

func (m *serviceMetrics) Sampled(registrations int) { m.listed.Observe(float64(registrations)) }

func (m *serviceMetrics) Verified(cached bool) { m.verified[verifiedLabel(cached)].Inc() }

func (m *serviceMetrics) Stored(op StorageOp, err error, took time.Duration) {
	m.storage[op].Observe(took.Seconds())
	if err != nil && !errors.Is(err, ErrPeerLimit) && !errors.Is(err, ErrFull) {
		m.unstored[op].Inc()
	}
}

// Describe and Collect make it one [prometheus.Collector].
func (m *serviceMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.collectors.Describe(ch)
	ch <- m.registered
	ch <- m.namespaces
	ch <- m.expired
}

// countTimeout bounds how long a scrape waits for a storage to say what it holds.
const countTimeout = 2 * time.Second

func (m *serviceMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	serving := slices.Clone(m.serving)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	if sum, err := m.count(ctx, serving); err == nil {
		ch <- prometheus.MustNewConstMetric(m.registered, prometheus.GaugeValue, float64(sum.Registrations))
		ch <- prometheus.MustNewConstMetric(m.namespaces, prometheus.GaugeValue, float64(sum.Namespaces))
	}
	if n, known := expired(serving); known {
		ch <- prometheus.MustNewConstMetric(m.expired, prometheus.CounterValue, float64(n))
	}
	m.collectors.Collect(ch) // last, for it holds how the counting went
}

// count adds up what the storages hold. A gauge that is not known is better
// missing than wrong, so there is none when one storage fails.
func (m *serviceMetrics) count(ctx context.Context, serving []*Storage) (Counts, error) {
	var sum Counts
	for _, s := range serving {
		started := time.Now()
		c, err := (*s).Counts(ctx)
		m.Stored(StorageCounts, err, time.Since(started))
		if err != nil {
			return sum, fmt.Errorf("count what a storage holds: %w", err)
		}
		sum.Registrations += c.Registrations
		sum.Namespaces += c.Namespaces
	}
	return sum, nil
}

// expired adds up what has expired in the storages that count it. It is not known
// where there are storages and none of them does.
func expired(serving []*Storage) (n uint64, known bool) {
	known = len(serving) == 0
	for _, s := range serving {
		if c, ok := (*s).(ExpiryCounter); ok {
			n += c.Expired()
			known = true
		}
	}
	return n, known
}

var streamResults = []string{"ok", "protocol_violation", "resource_limit", "rate_limited", "stopping", "panic", "failed"}

// streamResult is one of streamResults.
func streamResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrProtocol):
		return "protocol_violation"
	case errors.Is(err, errResource):
		return "resource_limit"
	case errors.Is(err, errRate):
		return "rate_limited"
	case errors.Is(err, errShutdown):
		return "stopping"
	case errors.Is(err, errPanic):
		return "panic"
	default:
		return "failed" // the peer went away, or took too long
	}
}

var refusalReasons = []string{
	"invalid_namespace", "invalid_peer_info", "invalid_ttl", "not_authorized",
	"peer_limit", "ip_limit", "full", "rate_limited", "resource_limit", "unavailable", "internal_error",
}

// refusalReason is one of refusalReasons: a status, or more exactly why it is answered.
func refusalReason(err error, s Status) string {
	refused, ok := errors.AsType[*StatusError](err)
	switch {
	case ok && refused == errTooMany:
		return "rate_limited"
	case ok && refused == errNoMemory:
		return "resource_limit"
	case errors.Is(err, ErrPeerLimit):
		return "peer_limit"
	case errors.Is(err, errIPLimit):
		return "ip_limit"
	case errors.Is(err, ErrFull):
		return "full"
	default:
		return statusLabel(s)
	}
}

// statusLabel is a status as a label: E_INVALID_TTL is invalid_ttl.
func statusLabel(s Status) string { return statusLabels[s] }

var statusLabels = func() map[Status]string {
	labels := make(map[Status]string)
	for s, name := range pb.Message_ResponseStatus_name {
		labels[Status(s)] = strings.ToLower(strings.TrimPrefix(name, "E_"))
	}
	return labels
}()

func typeLabel(t pb.Message_MessageType) string { return strings.ToLower(t.String()) }

func verifiedLabel(cached bool) string {
	if cached {
		return "cached"
	}
	return "checked"
}
