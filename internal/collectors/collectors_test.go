package collectors

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestSet(t *testing.T) {
	var s Set
	s.Gauge("streams", "Open streams.").Set(3)
	s.GaugeVec("last_success_seconds", "Last success.", "type").WithLabelValues("register").Set(7)
	s.CounterVec("requests_total", "Requests.", "type", "status").WithLabelValues("discover", "ok").Inc()
	counters := s.Counters("bytes_total", "Bytes.", "direction", "received", "sent")
	require.Len(t, counters, 2)
	counters["sent"].Add(5)
	s.Histogram("discover_registrations", "Registrations.", 0, 10).Observe(4)
	s.Durations("request_duration_seconds", "Time.", "type").WithLabelValues("register").Observe(0.25)

	reg := prometheus.NewPedanticRegistry()
	require.NoError(t, reg.Register(&s))
	families, err := reg.Gather()
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "libp2p_rendezvous_")
		require.True(t, ok, f.GetName())
		require.NotEmpty(t, f.GetHelp())
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += "," + l.GetName() + "=" + l.GetValue()
			}
			got[name+labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	require.Equal(t, map[string]float64{
		"streams":                                3,
		"last_success_seconds,type=register":     7,
		"requests_total,status=ok,type=discover": 1,
		"bytes_total,direction=received":         0,
		"bytes_total,direction=sent":             5,
		"discover_registrations":                 4,
		"request_duration_seconds,type=register": 0.25,
	}, got)
}

func TestCountingAllocatesNothing(t *testing.T) {
	var s Set
	counters := s.Counters("bytes_total", "Bytes.", "direction", "sent")
	took := s.Durations("request_duration_seconds", "Time.", "type").WithLabelValues("register")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		counters["sent"].Add(5)
		took.Observe(0.2)
	}))
}

func TestDesc(t *testing.T) {
	require.Contains(t, Desc("namespaces", "Namespaces.").String(), `"libp2p_rendezvous_namespaces"`)
}

func newSet(help string) *Set {
	s := new(Set)
	s.Gauge("streams", help)
	return s
}

func TestRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	first, err := Register(reg, newSet("Open streams."))
	require.NoError(t, err)

	second, err := Register(reg, newSet("Open streams."))
	require.NoError(t, err)
	require.Same(t, first, second, "equal collectors are counted together")

	_, err = Register(reg, newSet("Streams that are open."))
	require.Error(t, err, "the same name with another help")

	_, err = Register[prometheus.Collector](reg, first)
	require.NoError(t, err)
	_, err = Register(reg, &other{newSet("Open streams.")})
	require.Error(t, err, "the equal collector has another type")
}

// other is a collector of another type than Set.
type other struct{ *Set }

func TestRegisterWithDefault(t *testing.T) {
	before := prometheus.DefaultRegisterer
	reg := prometheus.NewRegistry()
	prometheus.DefaultRegisterer = reg
	defer func() { prometheus.DefaultRegisterer = before }()

	s, err := Register(nil, newSet("Open streams."))
	require.NoError(t, err)
	require.True(t, reg.Unregister(s))
}
