package main

import (
	"errors"
	"io"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testScale is small enough for a test on a busy machine.
var testScale = scale{peers: 2, idleStreams: 300, identities: 10, fullSize: 100, honest: 3, unreadStreams: 5}

// TestAttacks runs each attack for a second. All honest requests succeed, and nothing of
// the attack is left. It does not check latencies.
func TestAttacks(t *testing.T) {
	c := campaign{scale: testScale, duration: time.Second, selected: regexp.MustCompile(""), out: io.Discard, logs: countLogs()}
	b, err := newTestbed(rendezvous.WithTTL(time.Second, 0)) // registrations expire soon
	require.NoError(t, err)
	for _, a := range attacks {
		r, err := c.runAttack(t.Context(), b, a)
		require.NoError(t, err, a.name)
		require.Positive(t, r.sent, a.name)
		succeeded, errs := r.stats.counts()
		require.NoError(t, errors.Join(errs...), a.name)
		require.Positive(t, succeeded, a.name)
		require.LessOrEqual(t, r.heapGrow, int64(maxHeapGrow), a.name)
		require.LessOrEqual(t, r.logLines, int64(maxLogLines), "%s: %s", a.name, r.lastLine)
		require.Empty(t, r.leftover, a.name)
	}
	require.NoError(t, b.close())
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
		"heap":      func(r *result) { r.heapGrow = maxHeapGrow + 1 },
		"2 streams": func(r *result) { r.leftover = "2 streams" },
		"log lines": func(r *result) { r.logLines = maxLogLines + 1 },
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
