// Package collectors makes the Prometheus metrics of rendezvous points and clients.
//
// A [Set] makes metrics and is one collector of them all. Their label values are all
// known when the program starts: a namespace or a peer is never one, because remote
// peers choose those and could make as many as they like. So each combination of labels
// is looked up once, when the metric is made, and counting allocates nothing.
package collectors

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace begins the name of every metric.
const namespace = "libp2p_rendezvous"

// durations are upper bounds in seconds, from a sample out of memory to a whole request
// of a client.
var durations = []float64{
	.000_01, .000_025, .000_05, .000_1, .000_25, .000_5,
	.001, .002_5, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// Set makes metrics, and collects those that it made. The zero Set has none. Its methods
// that make metrics must not be called at the same time as any other.
type Set struct {
	made []prometheus.Collector
}

// Describe implements [prometheus.Collector].
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.made {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.made {
		c.Collect(ch)
	}
}

// Gauge makes a gauge.
func (s *Set) Gauge(name, help string) prometheus.Gauge {
	return add(s, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}))
}

// GaugeVec makes a gauge for each value of a label.
func (s *Set) GaugeVec(name, help, label string) *prometheus.GaugeVec {
	return add(s, prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{label}))
}

// CounterVec makes a counter for each combination of values of some labels.
func (s *Set) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return add(s, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels))
}

// Counters makes a counter for each value of a label, and returns them by that value.
func (s *Set) Counters(name, help, label string, values ...string) map[string]prometheus.Counter {
	vec := s.CounterVec(name, help, label)
	counters := make(map[string]prometheus.Counter, len(values))
	for _, v := range values {
		counters[v] = vec.WithLabelValues(v)
	}
	return counters
}

// Histogram makes a histogram with buckets of these upper bounds.
func (s *Set) Histogram(name, help string, bounds ...float64) prometheus.Histogram {
	return add(s, prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: bounds,
	}))
}

// Durations makes a histogram of durations in seconds for each combination of values of
// some labels. Its buckets reach from 10 microseconds to 10 seconds.
func (s *Set) Durations(name, help string, labels ...string) *prometheus.HistogramVec {
	return add(s, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: durations,
	}, labels))
}

func add[C prometheus.Collector](s *Set, c C) C {
	s.made = append(s.made, c)
	return c
}

// Desc describes a metric without labels that is made when it is collected.
func Desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil)
}

// Register registers c, or returns the equal collector that is already registered. A nil
// reg is [prometheus.DefaultRegisterer].
func Register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
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
