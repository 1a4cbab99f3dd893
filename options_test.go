package rendezvous

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// TestOptionsRefuseNonsense: Start reports all invalid options.
func TestOptionsRefuseNonsense(t *testing.T) {
	h, s := newHost(t, libp2p.NoListenAddrs), testStorage(t)
	for name, opt := range map[string]ServiceOption{
		"a negative rate":           WithRateLimit(-1, 1),
		"a rate of NaN":             WithRateLimit(math.NaN(), 1),
		"an infinite rate":          WithRateLimit(math.Inf(1), 1),
		"a rate without burst":      WithRateLimit(1, 0),
		"a burst without rate":      WithRateLimit(0, 1),
		"a negative burst":          WithRateLimit(1, -1),
		"a rate of once a year":     WithRateLimit(1./(365*24*3600), 1),
		"a negative peer limit":     WithMaxRegistrationsPerPeer(-1),
		"a negative limit":          WithMaxRegistrations(-1),
		"a negative limit of bytes": WithMaxRegistrationBytes(-1),
		"a negative address limit":  WithMaxRegistrationsPerIP(-1),
		"a negative TTL":            WithTTL(-time.Second, 0),
		"a negative longest TTL":    WithTTL(0, -time.Second),
		"a default over the most":   WithTTL(21*time.Second, 20*time.Second),
		"a default over 20 s":       WithTTL(21*time.Second, 0),
		"half a second":             WithTTL(500*time.Millisecond, 0),
		"a fraction of a second":    WithTTL(1500*time.Millisecond, 0),
		"more than a day":           WithTTL(0, 25*time.Hour),
		"the longest duration":      WithTTL(0, math.MaxInt64),
		"a negative discover limit": WithMaxDiscoverLimit(-1),
		"over the wire's":           WithMaxDiscoverLimit(MaxDiscoverLimit + 1),
	} {
		t.Run(name, func(t *testing.T) {
			service := NewRendezvousService(h, s, WithMaxRegistrations(7), opt)
			require.ErrorContains(t, service.Start(), "start rendezvous service")
			require.NotContains(t, h.Mux().Protocols(), RendezvousID_v001)
			service.Stop()
		})
	}
	err := NewRendezvousService(nil, s, WithMaxRegistrations(-1), WithMaxDiscoverLimit(-1)).Start()
	for _, wrong := range []string{"host", "registrations", "answer"} {
		require.ErrorContains(t, err, wrong)
	}
}

// TestZeroOptions: the meaning of zero for each option.
func TestZeroOptions(t *testing.T) {
	c := defaultServiceConfig()
	require.NoError(t, applyOptions(&c, []ServiceOption{
		WithRateLimit(0, 0), WithEgressLimit(0, 0), WithMaxRegistrations(0), WithMaxRegistrationsPerPeer(0), WithMaxRegistrationsPerIP(0), WithMaxRegistrationBytes(0),
		WithTTL(0, 0), WithMaxDiscoverLimit(0), WithAuthorizer(nil),
	}))
	require.Equal(t, serviceConfig{ttl: DefaultTTL, maxTTL: MaxTTL, discoverLimit: MaxDiscoverLimit, metrics: noMetrics{}}, c)
	require.NoError(t, applyOptions(&c, []ServiceOption{WithTTL(0, 5*time.Second)}))
	require.Equal(t, 5*time.Second, c.ttl)
	require.NoError(t, applyOptions(&c, []ServiceOption{WithStandardProtocol(0, 0)}))
	require.Equal(t, standardConfig{ttl: 2 * time.Hour, maxTTL: 72 * time.Hour}, c.standard)
	require.NoError(t, applyOptions(&c, []ServiceOption{WithStandardProtocol(0, time.Minute)}))
	require.Equal(t, standardConfig{ttl: time.Minute, maxTTL: time.Minute}, c.standard)
}

// TestDefaults: the defaults are those in SECURITY.md, as are those of the command.
func TestDefaults(t *testing.T) {
	security, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	said := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]* \\| (.*) \\(`(\\w+)`\\) \\|$").FindAllSubmatch(security, -1) {
		said[string(row[2])] = string(row[1])
	}
	c := defaultServiceConfig()
	require.Equal(t, map[string]string{
		"WithTTL":                     fmt.Sprintf("1 to %.0f s, %.0f s by default", c.maxTTL.Seconds(), c.ttl.Seconds()),
		"WithStandardProtocol":        fmt.Sprintf("1 s to %.0f h, %.0f h by default", MaxStandardTTL.Hours(), DefaultStandardTTL.Hours()),
		"WithEgressLimit":             fmt.Sprintf("%d MiB per second, %d MiB at once", c.egress>>20, c.egressBurst>>20),
		"WithMaxDiscoverLimit":        strconv.Itoa(c.discoverLimit),
		"WithMaxRegistrations":        fmt.Sprintf("%d,%03d,%03d", c.quota.Total/1e6, c.quota.Total/1e3%1e3, c.quota.Total%1e3),
		"WithMaxRegistrationsPerPeer": strconv.Itoa(c.quota.PerPeer),
		"WithMaxRegistrationsPerIP":   strconv.Itoa(c.quota.PerOrigin),
		"WithMaxRegistrationBytes":    strconv.FormatInt(c.quota.Bytes, 10),
		"WithRateLimit":               fmt.Sprintf("%v per second, %d at once", c.rate, c.burst),
	}, said)
}

// TestOptions checks options over the wire.
func TestOptions(t *testing.T) {
	point, h := newHost(t), newHost(t)
	s := testStorage(t)
	startPoint(t, point, s, WithTTL(3*time.Second, 30*time.Second), WithMaxDiscoverLimit(2))
	connect(t, h, point)
	fill(t, s, "n", 5)
	st := openRaw(t, h, point.ID())
	for asked, granted := range map[time.Duration]int64{0: 3, 30 * time.Second: 30, 31 * time.Second: 0} {
		r := st.ask(registerRequest("ttl", ownEnvelope(t, h), asked)).GetRegisterResponse()
		require.Equal(t, granted, r.GetTtl())
		require.Equal(t, granted == 0, r.GetStatus() == pb.Message_E_INVALID_TTL)
	}
	for asked, got := range map[int]int{0: 2, 1: 1, 3: 2} {
		require.Len(t, st.ask(discoverRequest("n", asked)).GetDiscoverResponse().GetRegistrations(), got)
	}
}

// TestNilOptions: an option that is nil is an error like any other.
func TestNilOptions(t *testing.T) {
	h := newHost(t)
	require.ErrorContains(t, NewRendezvousService(h, testStorage(t), WithTTL(0, 0), nil).Start(), "option 2 is nil")
	_, err := NewClient(h, nil).Discover(t.Context(), h.ID(), "n", 0)
	require.ErrorContains(t, err, "option 1 is nil")
	_, err = NewRendezvousDiscovery(h, nil).Advertise(t.Context(), "n")
	require.ErrorContains(t, err, "option 1 is nil")
}

// TestOnePointForEachHost: a second service on a host does not take over the streams of
// the first.
func TestOnePointForEachHost(t *testing.T) {
	h := newHost(t)
	first, second := NewRendezvousService(h, testStorage(t)), NewRendezvousService(h, testStorage(t))
	require.NoError(t, first.Start())
	require.ErrorContains(t, second.Start(), "the host already serves")
	first.Stop()
	require.NoError(t, second.Start())
	second.Stop()
}

// TestUnopenedLevelDB: a LevelDB that could not be opened is treated as no database.
func TestUnopenedLevelDB(t *testing.T) {
	db, err := OpenLevelDB("")
	require.ErrorContains(t, err, "a directory is needed")
	s := NewStorage(db)
	require.NoError(t, s.Add(t.Context(), testRecord("n", "p", time.Minute), Quota{}))
	require.NoError(t, s.Close())
}
