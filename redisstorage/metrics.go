package redisstorage

// How the servers are doing, for Prometheus.

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what a storage counts.
type metrics struct {
	failures atomic.Int64 // of looks at a shard
	partial  atomic.Int64 // samples without some shards
	purged   atomic.Int64 // registrations that ended and were taken out from here
}

var (
	shardsDesc   = describe("shards", "Parts that the registry is divided into.")
	downDesc     = describe("shards_down", "Parts of the registry that cannot be reached now.")
	failuresDesc = describe("shard_failures_total", "Looks at a part of the registry that failed; there are four a second for each.")
	partialDesc  = describe("partial_samples_total", "Samples that were answered without the parts that could not be reached.")
	purgedDesc   = describe("purged_total", "Registrations that had ended and were taken out through this point.")
)

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("libp2p_rendezvous_redis_"+name, help, nil, nil)
}

// Describe implements [prometheus.Collector].
func (s *Storage) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{shardsDesc, downDesc, failuresDesc, partialDesc, purgedDesc} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector]. It asks no server.
func (s *Storage) Collect(collected chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v int64) {
		collected <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v))
	}
	counter := func(desc *prometheus.Desc, v int64) {
		collected <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v))
	}
	gauge(shardsDesc, int64(len(s.shards)))
	gauge(downDesc, int64(s.down.Load()))
	counter(failuresDesc, s.metrics.failures.Load())
	counter(partialDesc, s.metrics.partial.Load())
	counter(purgedDesc, s.metrics.purged.Load())
}
