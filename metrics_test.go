package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// gathered returns the metrics by name and label values, such as
// requests_total{register,ok}. The value of a histogram is its number of observations.
func gathered(t testing.TB, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	values := make(map[string]float64)
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "libp2p_rendezvous_")
		require.NotEqual(t, f.GetName(), name, "every name starts with the namespace")
		require.NotEmpty(t, f.GetHelp(), name)
		for _, m := range f.GetMetric() {
			values[name+labelValues(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func labelValues(m *dto.Metric) string {
	if len(m.GetLabel()) == 0 {
		return ""
	}
	var values []string
	for _, l := range m.GetLabel() { // in the order of their names
		values = append(values, l.GetValue())
	}
	return "{" + strings.Join(values, ",") + "}"
}

// waku is the protocol as a label.
const waku = string(RendezvousID_v001)

func TestServiceMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	point, h := newHost(t), newHost(t)
	service := startPoint(t, point, testStorage(t), WithMetrics(reg))
	connect(t, h, point)
	before := gathered(t, reg)
	c := NewClient(h)
	for range 2 {
		_, err := c.Register(t.Context(), point.ID(), "news", 0)
		require.NoError(t, err)
	}
	_, err := c.Discover(t.Context(), point.ID(), "news", 0)
	require.NoError(t, err)
	_, err = c.Register(t.Context(), point.ID(), "news", time.Hour)
	require.ErrorIs(t, err, ErrInvalidTTL)
	bad := openRaw(t, h, point.ID())
	_, err = bad.Write([]byte{1, 0xff})
	require.NoError(t, err)
	_, err = bad.next()
	require.Error(t, err)
	service.Stop() // after Stop everything is counted

	got := gathered(t, reg)
	for name, want := range map[string]float64{
		"requests_total{" + waku + ",ok,register}":          2,
		"requests_total{" + waku + ",invalid_ttl,register}": 1,
		"requests_total{" + waku + ",ok,discover}":          1,
		"request_duration_seconds{" + waku + ",register}":   3,
		"request_duration_seconds{" + waku + ",discover}":   1,
		"refused_total{invalid_ttl}":                        1,
		"refused_total{full}":                               0,
		"discover_registrations":                            1,
		"streams":                                           0,
		"streams_total{" + waku + ",ok}":                    1, // the client keeps this stream open
		"streams_total{" + waku + ",protocol_violation}":    1,
		"storage_duration_seconds{add}":                     2,
		"storage_duration_seconds{sample}":                  1,
		"storage_errors_total{add}":                         0,
	} {
		require.Contains(t, got, name)
		require.InDelta(t, want, got[name], 0, name)
	}
	require.InDelta(t, 3, got["verifications_total{checked}"]+got["verifications_total{cached}"], 0)
	require.Greater(t, got["bytes_total{received}"], 100.0)
	require.Greater(t, got["bytes_total{sent}"], 100.0)
	for name := range got {
		require.Contains(t, before, name, "all label values exist before the first request")
	}
}

// countingStorage returns the counts that a test sets.
type countingStorage struct {
	Storage
	counts Counts
	err    error
}

func (s *countingStorage) Counts(context.Context) (Counts, error) { return s.counts, s.err }
func (s *countingStorage) Expired() uint64                        { return 7 }

func TestServiceMetricsReadGauges(t *testing.T) {
	reg := prometheus.NewRegistry()
	first := &countingStorage{counts: Counts{Registrations: 3, Namespaces: 2}}
	second := &countingStorage{counts: Counts{Registrations: 4, Namespaces: 1}}
	one := NewRendezvousService(newHost(t), first, WithMetrics(reg))
	two := NewRendezvousService(newHost(t), second, WithMetrics(reg))
	require.InDelta(t, 0, gathered(t, reg)["registrations"], 0)

	require.NoError(t, one.Start())
	require.NoError(t, two.Start())
	defer one.Stop()
	got := gathered(t, reg)
	require.InDelta(t, 7, got["registrations"], 0, "services of one registerer are counted together")
	require.InDelta(t, 3, got["namespaces"], 0)
	require.InDelta(t, 14, got["expired_total"], 0)

	two.Stop()
	require.InDelta(t, 3, gathered(t, reg)["registrations"], 0, "only services that run are counted")

	first.err = errors.New("disk on fire")
	require.NotContains(t, gathered(t, reg), "registrations", "a gauge is missing rather than wrong")
	require.InDelta(t, 2, gathered(t, reg)["storage_errors_total{counts}"], 0)
}

func TestStorageCountsWhatExpires(t *testing.T) {
	now := time.Now()
	s := newMemoryStorage(func() time.Time { return now }, nil)
	for i := range 3 {
		r := Record{Namespace: "news", Peer: peer.ID(fmt.Sprint(i)), Deadline: now.Add(time.Duration(i+1) * time.Second)}
		require.NoError(t, s.Add(t.Context(), r, Quota{}))
	}
	require.Zero(t, s.Expired())
	now = now.Add(2*time.Second + time.Second/10) // registrations that expire within a tick are counted at its end
	s.evict()
	require.EqualValues(t, 2, s.Expired())
	require.NoError(t, s.Close())
	require.Zero(t, s.Expired())
}

func TestMetricsRegisterer(t *testing.T) {
	reg := prometheus.NewRegistry()
	taken := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "libp2p_rendezvous", Name: "streams", Help: "Somebody else's."})
	reg.MustRegister(taken)
	s := NewRendezvousService(newHost(t), testStorage(t), WithMetrics(reg))
	require.ErrorContains(t, s.Start(), "register metrics")
	require.Error(t, NewRendezvousService(newHost(t), testStorage(t), WithMetricsTracer(nil)).Start())

	// With labels of the program's own, as prometheus.WrapRegistererWith adds them.
	wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"shard": "1"}, prometheus.NewRegistry())
	for range 2 {
		require.NoError(t, WithMetrics(wrapped)(new(serviceConfig)))
		require.NoError(t, WithClientMetrics(wrapped)(new(clientConfig)))
	}
}

func TestClientMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	point, h, dead := newHost(t), newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	connect(t, h, point)
	connect(t, h, dead)
	c := NewClient(h, WithClientMetrics(reg))
	_, err := c.Register(t.Context(), point.ID(), "news", time.Second)
	require.NoError(t, err)
	_, err = c.Register(t.Context(), point.ID(), "news", time.Hour)
	require.ErrorIs(t, err, ErrInvalidTTL)
	_, err = c.Register(t.Context(), dead.ID(), "news", 0)
	require.Error(t, err)
	_, err = c.Discover(t.Context(), point.ID(), "news", 0)
	require.NoError(t, err)
	// A local error is not counted as a request or as an answer of a point.
	_, err = c.Register(t.Context(), point.ID(), "", 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)
	_, err = c.Register(t.Context(), point.ID(), "news", -1)
	require.ErrorIs(t, err, ErrInvalidTTL)
	_, err = c.Discover(t.Context(), point.ID(), strings.Repeat("n", MaxNamespaceSize+1), 0)
	require.ErrorIs(t, err, ErrInvalidNamespace)

	got := gathered(t, reg)
	require.InDelta(t, 1, got["client_requests_total{ok,register}"], 0)
	require.InDelta(t, 1, got["client_requests_total{invalid_ttl,register}"], 0)
	require.InDelta(t, 1, got["client_requests_total{no_answer,register}"], 0)
	require.InDelta(t, 3, got["client_request_duration_seconds{register}"], 0)
	require.Zero(t, got["client_requests_total{invalid_namespace,register}"])
	require.Zero(t, got["client_requests_total{invalid_namespace,discover}"])
	require.InDelta(t, time.Now().Unix(), got["client_last_success_timestamp_seconds{discover}"], 60)
	require.InDelta(t, 1, got["client_verifications_total{cached}"]+got["client_verifications_total{checked}"], 0)
	require.InDelta(t, 1, got["client_registered_points"], 0)
	require.Eventually(t, func() bool { return gathered(t, reg)["client_registered_points"] == 0 },
		10*time.Second, 50*time.Millisecond, "a registration ends")
}

// Counting does not allocate.
func TestMetricsDoNotAllocate(t *testing.T) {
	m, c, id := newServiceMetrics(), newClientMetrics(), peer.ID("a point")
	failures := []error{ErrPeerLimit, ErrFull, fmt.Errorf("add: %w", ErrFull), errors.New("anything")}
	refusal := fmt.Errorf("discover: %w", refuse(pb.Message_E_INVALID_TTL, "ttl is negative"))
	c.RequestEnded(RequestEnded{Type: RequestRegister, Point: id, TTL: time.Second})
	for name, count := range map[string]func(){
		"stream": func() {
			m.StreamOpened()
			m.StreamEnded(StreamEnded{Protocol: StandardID})
			m.StreamOpened()
			m.StreamEnded(StreamEnded{Protocol: RendezvousID_v001, Err: refusal, Unanswered: 7})
		},
		"request": func() {
			m.RequestAnswered(RequestAnswered{Protocol: StandardID, Type: RequestRegister, Received: 100, Sent: 10, Record: RecordChecked})
			m.RequestAnswered(RequestAnswered{Protocol: RendezvousID_v001, Type: RequestDiscover, Registrations: 50, Sent: 10_000})
			m.RequestAnswered(RequestAnswered{Protocol: RendezvousID_v001, Type: RequestDiscover, Status: pb.Message_E_UNAVAILABLE, Reason: ReasonRateLimited})
			m.RequestAnswered(RequestAnswered{Protocol: RendezvousID_v001, Type: "unknown"})
		},
		"storage": func() {
			for _, err := range failures {
				m.StorageCalled(StorageCalled{Op: StorageAdd, Err: err, Duration: time.Millisecond})
			}
			m.StorageCalled(StorageCalled{Op: StorageSample})
		},
		"client": func() {
			c.RequestEnded(RequestEnded{Type: RequestRegister, Point: id, TTL: time.Second})
			c.RequestEnded(RequestEnded{Type: RequestDiscover, Point: id, Err: refusal, Checked: 1, Cached: 2, Invalid: 3})
		},
	} {
		require.Zero(t, testing.AllocsPerRun(100, count), name)
	}
}

// Every reason and every result has a counter. A missing one would be nil, and counting
// would panic.
func TestMetricsLabelsAreComplete(t *testing.T) {
	m, c := newServiceMetrics(), newClientMetrics()
	errs := []error{&peerrecord.InvalidError{Reason: "badly signed"}, errors.New("anything")}
	for s := range statusReasons {
		errs = append(errs, refuse(s, ""))
	}
	errs = append(errs, errTooMany)
	for _, other := range errorRefusals {
		errs = append(errs, storageError{other.err})
	}
	counted := make(map[Reason]bool)
	for _, err := range errs {
		refusal, reason := refusalOf(err)
		require.Contains(t, m.refused, reason)
		counted[reason] = true
		for p, types := range requestTypes {
			for _, typ := range types {
				m.RequestAnswered(RequestAnswered{Protocol: p, Type: typ, Status: refusal.Status, Reason: reason})
				c.RequestEnded(RequestEnded{Type: typ, Err: refusal})
			}
		}
	}
	require.Len(t, counted, len(reasons()), "every reason is that of some error")
	c.RequestEnded(RequestEnded{Type: RequestRegister, Err: refuse(12345, "made up")})
	for _, err := range []error{ErrProtocol, errResource, errStopping, errRate, errPanic, errors.New("anything")} {
		for p := range requestTypes {
			require.Contains(t, m.streams, streamLabels{p, streamResult(err)})
			m.StreamEnded(StreamEnded{Protocol: p, Err: err})
		}
	}
}

// TestLimitsAreNoFailures: a storage that reaches a limit, or whose caller has gone, has not
// failed.
func TestLimitsAreNoFailures(t *testing.T) {
	m := newServiceMetrics()
	reg := prometheus.NewRegistry()
	reg.MustRegister(m)
	for _, err := range []error{nil, ErrPeerLimit, ErrOriginLimit, ErrFull, context.Canceled} {
		m.StorageCalled(StorageCalled{Op: StorageAdd, Err: err})
	}
	require.Zero(t, gathered(t, reg)["storage_errors_total{add}"])
	m.StorageCalled(StorageCalled{Op: StorageAdd, Err: ErrUnreachable})
	require.InDelta(t, 1, gathered(t, reg)["storage_errors_total{add}"], 0)
}
