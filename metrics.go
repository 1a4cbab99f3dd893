package rendezvous

// The metrics of a point. Each label has a few values, all known when the program
// starts: a namespace or a peer is never one, because peers choose those and could make
// as many as they like. Counting allocates nothing.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/internal/collectors"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// MetricsTracer is told what a rendezvous point does. Each method takes one struct per
// thing that happened. All methods may be called concurrently and should return at
// once, because requests wait for them. The structs may get more fields, and the
// interface more methods, in later versions.
type MetricsTracer interface {
	// Started is called when a point begins to serve the registrations of s. It
	// returns a function that is called when the point has stopped. Gauges are read
	// from s in between.
	Started(s Storage) (stopped func())
	// StreamOpened is called for each stream, and StreamEnded when it has ended.
	StreamOpened()
	StreamEnded(StreamEnded)
	// RequestAnswered is called when an answer was written, or writing it failed.
	RequestAnswered(RequestAnswered)
	// StorageCalled is called after each call but Counts. The tracer of [WithMetrics]
	// also reports its own Counts.
	StorageCalled(StorageCalled)
}

// StreamEnded describes a stream that has ended.
type StreamEnded struct {
	// Protocol is the protocol of the stream: [RendezvousID_v001] or [StandardID], also if
	// the stream has a further ID of [WithStandardID].
	Protocol protocol.ID
	// Err is why the stream was reset, nil if it ended in good order.
	Err error
	// Unanswered is the size of a last request that was read and not answered, in
	// bytes on the wire.
	Unanswered int
}

// RequestAnswered describes a request and its answer. An UNREGISTER has none, and is
// described when it was carried out.
type RequestAnswered struct {
	// Protocol is the protocol of the stream, as StreamEnded has it.
	Protocol protocol.ID
	Type     RequestType
	Status   Status
	// Reason is why the request was refused, NotRefused if it was not.
	Reason Reason
	// Duration is the time from the request read to its answer ready.
	Duration time.Duration
	// Received and Sent are the sizes of request and answer on the wire, in bytes. Sent
	// is less than the whole answer if the peer did not take it. That of a REGISTER is the
	// whole answer, which may be written a moment later, with the next ones.
	Received, Sent int
	// Registrations is how many registrations an answer to DISCOVER has.
	Registrations int
	// Record says how the signed peer record of a REGISTER was verified.
	Record RecordCheck
}

// StorageCalled describes a call of a [Storage].
type StorageCalled struct {
	Op       StorageOp
	Err      error
	Duration time.Duration
}

// RequestType is the type of a request, as a metric label.
type RequestType string

// The request types.
const (
	RequestRegister   RequestType = "register"
	RequestDiscover   RequestType = "discover"
	RequestUnregister RequestType = "unregister" // of the standard protocol only
)

// requestTypes are the request types of each protocol.
var requestTypes = map[protocol.ID][]RequestType{
	wire.Waku.ID:     {RequestRegister, RequestDiscover},
	wire.Standard.ID: {RequestRegister, RequestDiscover, RequestUnregister},
}

// RecordCheck says how a signed peer record was verified, as a metric label.
type RecordCheck string

// The ways to verify a record. RecordUnchecked is that of a request without a record,
// or whose record is invalid.
const (
	RecordUnchecked RecordCheck = ""
	RecordChecked   RecordCheck = "checked" // the signature was checked
	RecordCached    RecordCheck = "cached"  // the same bytes were verified before
)

// StorageOp is a method of [Storage], as a metric label.
type StorageOp string

// The methods of a storage that are counted.
const (
	StorageAdd    StorageOp = "add"
	StorageSample StorageOp = "sample"
	StorageCounts StorageOp = "counts"
	StoragePage   StorageOp = "page" // this and the following: of a [Pager]
	StorageRemove StorageOp = "remove"
	StorageRenew  StorageOp = "renew"
)

var storageOps = []StorageOp{StorageAdd, StorageSample, StorageCounts, StoragePage, StorageRemove, StorageRenew}

// ExpiryCounter is a [Storage] that counts the registrations that expire in it. It is
// optional. It may be called concurrently.
type ExpiryCounter interface {
	// Expired returns how many registrations have ended, without being refreshed in
	// time, since the storage was opened.
	Expired() uint64
}

// serviceMetrics is the MetricsTracer of Prometheus. Each combination of labels is
// looked up once, when it is made, and not when something is counted.
type serviceMetrics struct {
	collectors.Set
	open          prometheus.Gauge
	streams       map[streamLabels]prometheus.Counter
	bytes         map[string]prometheus.Counter
	requests      map[requestLabels]requestMetrics
	refused       map[Reason]prometheus.Counter
	registrations prometheus.Histogram
	records       map[RecordCheck]prometheus.Counter
	storage       map[StorageOp]storageMetrics
	live          *prometheus.Desc
	namespaces    *prometheus.Desc
	expired       *prometheus.Desc

	mu      sync.Mutex
	serving []*Storage // the storages of started points, each at its own address
}

// streamLabels tell streams apart, and requestLabels requests.
type (
	streamLabels struct {
		protocol protocol.ID
		result   string
	}
	requestLabels struct {
		protocol protocol.ID
		typ      RequestType
	}
)

// requestMetrics are the metrics of one type of request.
type requestMetrics struct {
	duration prometheus.Observer
	statuses map[Status]prometheus.Counter
}

// storageMetrics are the metrics of one method of the storage.
type storageMetrics struct {
	duration prometheus.Observer
	failures prometheus.Counter
}

func newServiceMetrics() *serviceMetrics {
	m := &serviceMetrics{
		streams:    make(map[streamLabels]prometheus.Counter),
		requests:   make(map[requestLabels]requestMetrics),
		refused:    make(map[Reason]prometheus.Counter),
		records:    make(map[RecordCheck]prometheus.Counter),
		storage:    make(map[StorageOp]storageMetrics),
		live:       collectors.Desc("registrations", "Registrations that are live."),
		namespaces: collectors.Desc("namespaces", "Namespaces with a live registration."),
		expired:    collectors.Desc("expired_total", "Registrations that ended without being refreshed in time."),
	}
	m.open = m.Gauge("streams", "Open streams.")
	m.bytes = m.Counters("bytes_total", "Bytes of requests and answers.", "direction", "received", "sent")
	streams := m.CounterVec("streams_total", "Streams that have ended, by protocol and result.", "protocol", "result")
	durations := m.Durations("request_duration_seconds", "Time from a request read to its answer ready.", "protocol", "type")
	requests := m.CounterVec("requests_total", "Requests that were answered, by protocol, type and status.", "protocol", "type", "status")
	for p, types := range requestTypes {
		for _, result := range streamResults {
			m.streams[streamLabels{p, result}] = streams.WithLabelValues(string(p), result)
		}
		for _, t := range types {
			r := requestMetrics{duration: durations.WithLabelValues(string(p), string(t)), statuses: make(map[Status]prometheus.Counter)}
			for s, label := range statusLabels {
				r.statuses[s] = requests.WithLabelValues(string(p), string(t), label)
			}
			m.requests[requestLabels{p, t}] = r
		}
	}
	refused := m.CounterVec("refused_total", "Requests that were refused, by reason.", "reason")
	for _, r := range reasons() {
		m.refused[r] = refused.WithLabelValues(string(r))
	}
	m.registrations = m.Histogram("discover_registrations", "Registrations in an answer to DISCOVER.",
		0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
	records := m.CounterVec("verifications_total", "Valid signed peer records, by whether the signature was checked again.", "result")
	for _, c := range []RecordCheck{RecordChecked, RecordCached} {
		m.records[c] = records.WithLabelValues(string(c))
	}
	calls := m.Durations("storage_duration_seconds", "Time of a call to the storage.", "op")
	failures := m.CounterVec("storage_errors_total", "Calls to the storage that failed. Reaching a limit is no failure.", "op")
	for _, op := range storageOps {
		m.storage[op] = storageMetrics{calls.WithLabelValues(string(op)), failures.WithLabelValues(string(op))}
	}
	return m
}

// NewMetricsTracer returns the tracer of [WithMetrics]. A tracer of your own can embed
// it, for example to count requests for a status page as well. It registers the metrics
// with reg, or with [prometheus.DefaultRegisterer] if reg is nil.
func NewMetricsTracer(reg prometheus.Registerer) (MetricsTracer, error) {
	m, err := collectors.Register(reg, newServiceMetrics())
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
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

func (m *serviceMetrics) StreamEnded(e StreamEnded) {
	m.open.Dec()
	if c, ok := m.streams[streamLabels{e.Protocol, streamResult(e.Err)}]; ok {
		c.Inc()
	}
	m.bytes["received"].Add(float64(e.Unanswered))
}

func (m *serviceMetrics) RequestAnswered(e RequestAnswered) {
	m.bytes["received"].Add(float64(e.Received))
	m.bytes["sent"].Add(float64(e.Sent))
	r, ok := m.requests[requestLabels{e.Protocol, e.Type}]
	if !ok {
		return
	}
	r.duration.Observe(e.Duration.Seconds())
	r.statuses[e.Status].Inc()
	if c, ok := m.refused[e.Reason]; ok {
		c.Inc()
	}
	if c, ok := m.records[e.Record]; ok {
		c.Inc()
	}
	if e.Type == RequestDiscover && e.Reason == NotRefused {
		m.registrations.Observe(float64(e.Registrations))
	}
}

func (m *serviceMetrics) StorageCalled(e StorageCalled) {
	s := m.storage[e.Op]
	s.duration.Observe(e.Duration.Seconds())
	if storageFailed(e.Err) {
		s.failures.Inc()
	}
}

// storageFailed reports whether an error of a storage is a failure. A limit is none, nor is a
// call that was cancelled because the peer has gone.
func storageFailed(err error) bool {
	return err != nil && !errors.Is(err, ErrPeerLimit) && !errors.Is(err, ErrOriginLimit) &&
		!errors.Is(err, ErrFull) && !errors.Is(err, context.Canceled)
}

// Describe implements [prometheus.Collector].
func (m *serviceMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.Set.Describe(ch)
	ch <- m.live
	ch <- m.namespaces
	ch <- m.expired
}

// countTimeout is how long a scrape waits for a storage to count its registrations.
const countTimeout = 2 * time.Second

// Collect implements [prometheus.Collector].
func (m *serviceMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	serving := slices.Clone(m.serving)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	if sum, err := m.count(ctx, serving); err == nil {
		ch <- prometheus.MustNewConstMetric(m.live, prometheus.GaugeValue, float64(sum.Registrations))
		ch <- prometheus.MustNewConstMetric(m.namespaces, prometheus.GaugeValue, float64(sum.Namespaces))
	}
	if n, known := expired(serving); known {
		ch <- prometheus.MustNewConstMetric(m.expired, prometheus.CounterValue, float64(n))
	}
	m.Set.Collect(ch) // last, because count has just observed its own calls
}

// count adds up the counts of the storages. If one fails there is no sum: a missing
// gauge is better than a wrong one.
func (m *serviceMetrics) count(ctx context.Context, serving []*Storage) (Counts, error) {
	var sum Counts
	for _, s := range serving {
		started := time.Now()
		c, err := (*s).Counts(ctx)
		m.StorageCalled(StorageCalled{Op: StorageCounts, Err: err, Duration: time.Since(started)})
		if err != nil {
			return sum, fmt.Errorf("count the registrations of a storage: %w", err)
		}
		sum.Registrations += c.Registrations
		sum.Namespaces += c.Namespaces
	}
	return sum, nil
}

// expired adds up the expired registrations of the storages that count them. The sum is
// unknown if there are storages and none counts.
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

// streamResult returns how a stream ended, one of streamResults.
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
	case errors.Is(err, errStopping):
		return "stopping"
	case errors.Is(err, errPanic):
		return "panic"
	default:
		return "failed" // the peer went away, or took too long
	}
}

// statusLabels are the statuses as labels: E_INVALID_TTL is invalid_ttl.
var statusLabels = func() map[Status]string {
	labels := make(map[Status]string)
	for s, name := range pb.Message_ResponseStatus_name {
		labels[Status(s)] = strings.ToLower(strings.TrimPrefix(name, "E_"))
	}
	return labels
}()

// noMetrics is the tracer of a service without metrics.
type noMetrics struct{}

func (noMetrics) Started(Storage) func()          { return func() {} }
func (noMetrics) StreamOpened()                   {}
func (noMetrics) StreamEnded(StreamEnded)         {}
func (noMetrics) RequestAnswered(RequestAnswered) {}
func (noMetrics) StorageCalled(StorageCalled)     {}
