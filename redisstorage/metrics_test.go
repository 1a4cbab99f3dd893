package redisstorage

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s))
	value := func(name string) float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "libp2p_rendezvous_redis_"+name {
				return family.GetMetric()[0].GetGauge().GetValue() + family.GetMetric()[0].GetCounter().GetValue()
			}
		}
		t.Fatalf("there is no metric %s", name)
		return 0
	}
	require.InDelta(t, 1, value("shards"), 0)
	for i := range 5 {
		mustAdd(t, s, testRecord(fmt.Sprint("ns", i), i, time.Second))
	}
	require.Eventually(t, func() bool { return value("purged_total") == 5 }, 5*time.Second, 10*time.Millisecond)
	require.Zero(t, value("shards_down"))
	node.signal(t, syscall.SIGKILL)
	require.Eventually(t, func() bool { return value("shards_down") == 1 && value("shard_failures_total") > 0 },
		5*time.Second, 10*time.Millisecond)
}
