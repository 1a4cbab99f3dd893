package main

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testScale is small enough for a test on a busy machine.
var testScale = scale{peers: 2, crowd: 3, expired: 50, idleStreams: 300, identities: 10, fullSize: 100, honest: 3, unreadStreams: 5, lasting: 2000}

// TestAttacks runs each attack for a moment. All honest requests succeed, attackers get no
// more than their budget, and in the end nothing is left. It does not check latencies.
func TestAttacks(t *testing.T) {
	c := campaign{scale: testScale, duration: 300 * time.Millisecond, selected: regexp.MustCompile(""), out: io.Discard, logs: countLogs()}
	b, err := newTestbed(t.Context(), false)
	require.NoError(t, err)
	before := usageNow()
	last := &attackers{testbed: b, scale: c.scale}
	for _, a := range attacks {
		if !c.includes(a) {
			continue
		}
		hostile := &attackers{testbed: b, attack: a, duration: c.duration, stats: new(honestStats), scale: c.scale}
		r, err := c.measure(t.Context(), hostile)
		require.NoError(t, err, a.name)
		require.NoError(t, hostile.close(), a.name)
		require.Positive(t, r.sent, a.name)
		succeeded, errs := r.stats.counts()
		require.NoError(t, errors.Join(errs...), a.name)
		require.Positive(t, succeeded, a.name)
		require.LessOrEqual(t, r.grow.heap, int64(maxGrow), a.name)
		require.LessOrEqual(t, r.grow.stacks, int64(maxGrow), a.name)
		require.LessOrEqual(t, r.egress.most, r.egress.maxMost, a.name)
		require.LessOrEqual(t, r.egress.all, r.egress.maxAll, a.name)
		require.LessOrEqual(t, r.logLines, int64(maxLogLines), "%s: %s", a.name, r.lastLine)
	}
	require.Empty(t, awaitCleanup(t.Context(), b, last, before))
	require.NoError(t, b.close())
}

// TestEnoughAttacks: each attack has a name of its own.
func TestEnoughAttacks(t *testing.T) {
	names := make(map[string]bool)
	for _, a := range attacks {
		require.False(t, names[a.name], a.name)
		names[a.name] = true
	}
	require.GreaterOrEqual(t, len(names), 40)
}

// TestAddresses: no two attacks in a row come from the same address, or from that of an honest
// peer. So no attack finds its budgets spent.
func TestAddresses(t *testing.T) {
	const honest = 1000 // more than start in all attacks
	seen := make(map[string]int)
	for n := range honest {
		seen[publicAddr(n).String()] = -1
	}
	for number := range 2 * len(attacks) { // a soak has rounds
		for _, from := range []source{eachItsAddress, one48} {
			for n := range fullScale.peersOf(attack{peers: idlePeers}) {
				addr := from.addr(number, n).String()
				_, taken := seen[addr]
				require.False(t, taken, "%s, attack %d", addr, number)
				seen[addr] = number
			}
		}
		require.Equal(t, number, seen[oneAddress.addr(number, 7).String()])
	}
}

// TestRemoveHonest: what honest peers have registered does not count as left of an attack.
func TestRemoveHonest(t *testing.T) {
	b, err := newTestbed(t.Context(), false)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.close()) }()
	stats := new(honestStats)
	stop := b.startHonest(t.Context(), 3, stats)
	require.NoError(t, awaitRequests(t.Context(), stats, 6))
	require.NoError(t, stop())
	other := rendezvous.Record{Namespace: honestNamespace, Peer: "another", Deadline: time.Now().Add(time.Hour)}
	require.NoError(t, b.storage.Add(t.Context(), other, rendezvous.Quota{}))
	require.NoError(t, b.removeHonest(t.Context()))
	counts, err := b.storage.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, counts.Registrations)
}

// TestWeakPoints: an attack is seen to succeed against a point without the limit that stops
// it. So the verdicts can fail.
func TestWeakPoints(t *testing.T) {
	for name, weak := range map[string]struct {
		opts []rendezvous.ServiceOption
		want string
	}{
		"DISCOVER 1000, one identity": {
			[]rendezvous.ServiceOption{rendezvous.WithEgressLimit(0, 0), rendezvous.WithRateLimit(0, 0)},
			"one attacker was sent",
		},
		"neighbours in debt": { // the neighbour has no budget of its own, either
			[]rendezvous.ServiceOption{rendezvous.WithRateLimit(0.01, 1)},
			"honest requests failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
			require.GreaterOrEqual(t, i, 0)
			b, err := newTestbed(t.Context(), false, weak.opts...)
			require.NoError(t, err)
			s := testScale
			s.fullSize = fullScale.fullSize
			s.honest = 0
			c := campaign{scale: s, duration: 3 * time.Second, out: io.Discard, logs: countLogs()}
			hostile := &attackers{testbed: b, attack: attacks[i], duration: c.duration, stats: new(honestStats), scale: s}
			r, err := c.measure(t.Context(), hostile)
			require.NoError(t, err)
			require.NoError(t, hostile.close())
			require.ErrorContains(t, r.check(), weak.want)
			require.NoError(t, b.close())
		})
	}
}

func TestResultCheck(t *testing.T) {
	newGoodResult := func() *result {
		s := new(honestStats)
		for i := range 100 {
			s.record(time.Duration(i)*time.Millisecond, nil)
		}
		return &result{name: "attack", stats: s}
	}
	require.NoError(t, newGoodResult().check())
	for want, spoil := range map[string]func(*result){
		"failed":   func(r *result) { r.stats.record(0, errors.New("stream reset")) },
		"answered": func(r *result) { r.stats = new(honestStats) },
		"percentile": func(r *result) {
			for range 3 {
				r.stats.record(time.Second, nil)
			}
		},
		"heap":                          func(r *result) { r.grow.heap = maxGrow + 1 },
		"stacks":                        func(r *result) { r.grow.stacks = maxGrow + 1 },
		"one attacker was sent 2 MiB":   func(r *result) { r.egress = egress{2 << 20, 2 << 20, 1 << 20, 2 << 20} },
		"the attackers were sent 2 MiB": func(r *result) { r.egress = egress{1 << 20, 2 << 20, 1 << 20, 1 << 20} },
		"2 streams":                     func(r *result) { r.leftover = "2 streams" },
		"log lines":                     func(r *result) { r.logLines = maxLogLines + 1 },
	} {
		r := newGoodResult()
		spoil(r)
		require.ErrorContains(t, r.check(), want)
	}
}

func TestCheckGrowth(t *testing.T) {
	base := usage{1 << 20, 100}
	moreHeap, moreGoroutines := usage{1<<20 + slackHeap + 1, 100}, usage{1 << 20, 101 + slackGoroutines}
	require.NoError(t, checkGrowth(nil))
	require.NoError(t, checkGrowth([]usage{base}))
	require.NoError(t, checkGrowth([]usage{base, moreHeap, base}), "only the last round counts")
	require.Error(t, checkGrowth([]usage{base, moreHeap}))
	require.Error(t, checkGrowth([]usage{base, moreGoroutines}))
}
