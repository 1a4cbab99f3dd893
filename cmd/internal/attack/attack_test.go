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

// little is as much of each attack as a test has time for, on a machine that may
// be doing other things.
var little = scale{peers: 2, streams: 300, crowd: 10, full: 100, honest: 3, bufferless: 5}

// TestAttacks does a little of each attack: honest requests all succeed and are
// right, and the point ends what the attackers hold.
func TestAttacks(t *testing.T) {
	c := campaign{scale: little, lasting: time.Second, chosen: regexp.MustCompile(""), out: io.Discard, logs: countLogs()}
	b, err := newBed(rendezvous.WithTTL(time.Second, 0)) // so that it is clean sooner
	require.NoError(t, err)
	for _, a := range attacks {
		r, err := c.one(t.Context(), b, a)
		require.NoError(t, err, a.name)
		require.Positive(t, r.sent, a.name)
		require.NoError(t, errors.Join(r.honest.failed...), a.name)
		require.NotEmpty(t, r.honest.took, a.name)
		require.LessOrEqual(t, r.heap, int64(mostHeap), a.name)
		require.LessOrEqual(t, r.lines, int64(mostLines), "%s: %s", a.name, r.line)
		require.Empty(t, r.left, a.name)
	}
	require.NoError(t, b.close())
}

// TestVerdict: a campaign fails where a bar is missed.
func TestVerdict(t *testing.T) {
	good := func() result {
		e := new(experience)
		for i := range 100 {
			e.note(time.Duration(i)*time.Millisecond, nil)
		}
		return result{name: "attack", honest: e}
	}
	require.NoError(t, good().verdict())
	for name, spoil := range map[string]func(*result){
		"failed":   func(r *result) { r.honest.note(0, errors.New("a reset")) },
		"answered": func(r *result) { r.honest = new(experience) },
		"percentile": func(r *result) {
			r.honest.note(time.Second, nil)
			r.honest.note(time.Second, nil)
			r.honest.note(time.Second, nil)
		},
		"heap":      func(r *result) { r.heap = mostHeap + 1 },
		"still":     func(r *result) { r.clean, r.left = -1, "2 streams" },
		"log lines": func(r *result) { r.lines = mostLines + 1 },
	} {
		r := good()
		spoil(&r)
		require.ErrorContains(t, r.verdict(), name)
	}
}

// TestGrowth: a soak fails where something grows from round to round.
func TestGrowth(t *testing.T) {
	small, heap, goroutines := state{1 << 20, 100}, state{1<<20 + slackHeap + 1, 100}, state{1 << 20, 101 + slackGoroutines}
	require.NoError(t, growth(nil))
	require.NoError(t, growth([]state{small}))
	require.NoError(t, growth([]state{small, heap, small}))
	require.Error(t, growth([]state{small, heap}))
	require.Error(t, growth([]state{small, goroutines}))
}
