package rendezvous

// Making metrics whose label values are all known beforehand, and a storage and a
// tracer that count nothing or everything.

import (
	"context"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// durationBuckets are in seconds: from a sample out of memory to a request's whole time.
var durationBuckets = []float64{
	.000_01, .000_025, .000_05, .000_1, .000_25, .000_5,
	.001, .002_5, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// byLabel holds the counters of a metric by the value of its one label.
type byLabel map[string]prometheus.Counter

// collectors are metrics that are collected as one.
type collectors []prometheus.Collector

func (c *collectors) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range *c {
		one.Describe(ch)
	}
}

func (c *collectors) Collect(ch chan<- prometheus.Metric) {
	for _, one := range *c {
		one.Collect(ch)
	}
}

func (c *collectors) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: metricNamespace, Name: name, Help: help})
	*c = append(*c, g)
	return g
}

func (c *collectors) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricNamespace, Name: name, Help: help}, labels)
	*c = append(*c, v)
	return v
}

func (c *collectors) counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: name, Help: help}, labels)
	*c = append(*c, v)
	return v
}

func (c *collectors) counters(name, help, label string, values ...string) byLabel {
	vec := c.counterVec(name, help, label)
	counters := make(byLabel, len(values))
	for _, v := range values {
		counters[v] = vec.WithLabelValues(v)
	}
	return counters
}

func (c *collectors) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: metricNamespace, Name: name, Help: help, Buckets: buckets})
	*c = append(*c, h)
	return h
}

func (c *collectors) histograms(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricNamespace, Name: name, Help: help, Buckets: buckets}, []string{label})
	*c = append(*c, v)
	return v
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricNamespace, "", name), help, nil, nil)
}

// tracedStorage tells a tracer of the calls to a storage.
type tracedStorage struct {
	Storage
	metrics MetricsTracer
}

// traced is s, as told to m.
func traced(s Storage, m MetricsTracer) Storage {
	if m == (noMetrics{}) {
		return s
	}
	return &tracedStorage{Storage: s, metrics: m}
}

// verified forwards what the storage may know of envelopes.
func (s *tracedStorage) verified(p peer.ID, envelope []byte) bool {
	v, ok := s.Storage.(verifier)
	return ok && v.verified(p, envelope)
}

func (s *tracedStorage) Add(ctx context.Context, r Record, q Quota) error {
	started := time.Now()
	err := s.Storage.Add(ctx, r, q)
	s.metrics.Stored(StorageAdd, err, time.Since(started))
	return err
}

// appendSample makes it a [sampler], whatever the storage is.
func (s *tracedStorage) appendSample(ctx context.Context, dst []listing, namespace string, n int) ([]listing, error) {
	started := time.Now()
	found, err := sample(ctx, s.Storage, dst, namespace, n)
	s.metrics.Stored(StorageSample, err, time.Since(started))
	return found, err
}

// meter tells a tracer of what is written.
type meter struct {
	io.Writer
	metrics MetricsTracer
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Writer.Write(p)
	m.metrics.Sent(n)
	return n, err
}

// noMetrics is the tracer of a service that has none.
type noMetrics struct{}

func (noMetrics) Started(Storage) func()                                { return func() {} }
func (noMetrics) StreamOpened()                                         {}
func (noMetrics) StreamClosed(error)                                    {}
func (noMetrics) Received(int)                                          {}
func (noMetrics) Sent(int)                                              {}
func (noMetrics) Answered(pb.Message_MessageType, error, time.Duration) {}
func (noMetrics) Sampled(int)                                           {}
func (noMetrics) Verified(bool)                                         {}
func (noMetrics) Stored(StorageOp, error, time.Duration)                {}
