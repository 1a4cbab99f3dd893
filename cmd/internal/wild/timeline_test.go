//go:build linux

package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// of makes a timeline that is true and false in turn from some instants on.
func of(at ...instant) *timeline {
	t := new(timeline)
	for i, a := range at {
		t.set(a, i%2 == 0)
	}
	return t
}

func TestGaps(t *testing.T) {
	for name, test := range map[string]struct {
		line     *timeline
		from, to instant
		want     []gap
	}{
		"never true":             {of(), 10, 20, []gap{{10, 20, true}}},
		"true all the time":      {of(5), 10, 20, nil},
		"true from the start on": {of(10), 10, 20, nil},
		"true later":             {of(15), 10, 20, []gap{{10, 15, false}}},
		"false later":            {of(5, 15), 10, 20, []gap{{15, 20, true}}},
		"false for a while":      {of(5, 12, 15), 10, 20, []gap{{12, 15, false}}},
		"false twice":            {of(5, 12, 13, 16, 18), 10, 20, []gap{{12, 13, false}, {16, 18, false}}},
		"false before the start": {of(5, 8, 12), 10, 20, []gap{{10, 12, false}}},
		"only before the start":  {of(1, 5, 8), 10, 20, nil},
		"only after the end":     {of(5, 20, 25), 10, 20, nil},
		"false at the end":       {of(5, 12, 20), 10, 20, []gap{{12, 20, true}}},
		"nothing to look at":     {of(), 10, 10, nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, test.line.gaps(test.from, test.to)) })
	}
}

func TestChangesOutOfOrder(t *testing.T) {
	line := of(10)
	line.set(5, false) // takes effect at the last change
	line.set(20, true)
	require.Equal(t, []gap{{10, 20, false}}, line.gaps(10, 30))
	require.True(t, line.last())
}

// at is what a timeline says of one instant.
func (t *timeline) at(i instant) bool {
	value := false
	for _, c := range t.changes {
		if c.at <= i {
			value = c.value
		}
	}
	return value
}

// TestGapsAndUnion compares gaps and anyOf with what each single instant says.
func TestGapsAndUnion(t *testing.T) {
	const end = 50
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var lines []*timeline
		for range 1 + random.IntN(4) {
			line := new(timeline)
			for at := range instant(end) {
				if random.IntN(5) == 0 {
					line.set(at, random.IntN(2) == 0)
				}
			}
			lines = append(lines, line)
		}
		union := anyOf(lines...)
		from := instant(random.IntN(end))
		to := from + instant(random.IntN(end-int(from)))
		gaps := union.gaps(from, to)
		for at := from; at < to; at++ {
			want := false
			for _, line := range lines {
				want = want || line.at(at)
			}
			require.Equal(t, want, union.at(at))
			inGap := false
			for _, g := range gaps {
				inGap = inGap || g.from <= at && at < g.to
				require.Less(t, g.from, g.to)
				require.Equal(t, g.to == to && !union.at(to-1), g.open)
			}
			require.Equal(t, !want, inGap, "at %d of %v", at, union.changes)
		}
	}
}

func TestArrivals(t *testing.T) {
	second := instant(time.Second)
	a := arrivals{every: 2 * time.Second}
	require.Equal(t, []gap{{0, 5 * second, true}}, a.gaps(0, 5*second), "before the first")
	for _, at := range []instant{10, 12, 15, 25, 27} { // one is late, and then four are missing
		a.add(at * second)
	}
	require.Equal(t, []gap{{17 * second, 25 * second, false}}, a.gaps(10*second, 28*second))
	require.Equal(t, []gap{{29 * second, 40 * second, true}}, a.gaps(25*second, 40*second), "none after the last")
}
