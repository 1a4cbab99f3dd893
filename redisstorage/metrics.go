package redisstorage

// Prometheus metrics.

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics has the counters of a storage.
type metrics struct {
	failures atomic.Int64 // visits to a shard that failed
	partial  atomic.Int64 // samples without some shards
	purged   atomic.Int64 // registrations purged by this process
}

var (
	shardsDesc   = newDesc("shards", "Number of shards of the registry.")
	downDesc     = newDesc("shards_down", "Number of shards that cannot be reached now.")
	failuresDesc = newDesc("shard_failures_total", "Failed visits to a shard. Each shard is visited four times a second.")
	partialDesc  = newDesc("partial_samples_total", "Samples that were answered without the shards that could not be reached.")
	purgedDesc   = newDesc("purged_total", "Expired registrations that this point purged.")
)

func newDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("libp2p_rendezvous_redis_"+name, help, nil, nil)
}

func describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{shardsDesc, downDesc, failuresDesc, partialDesc, purgedDesc} {
		out <- desc
	}
}

func (m *metrics) collect(out chan<- prometheus.Metric, shards, down int) {
	gauge := func(desc *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v))
	}
	counter := func(desc *prometheus.Desc, v *atomic.Int64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v.Load()))
	}
	gauge(shardsDesc, shards)
	gauge(downDesc, down)
	counter(failuresDesc, &m.failures)
	counter(partialDesc, &m.partial)
	counter(purgedDesc, &m.purged)
}
