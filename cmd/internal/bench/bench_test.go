package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestResult: a ratio is the median of the ratios of the rounds.
func TestResult(t *testing.T) {
	e := &experiment{request: "REGISTER again", transport: "TCP", stream: freshStream}
	rounds := []sample{{PerSecond: 50, CPU: 20}, {PerSecond: 80, CPU: 10}, {PerSecond: 90, CPU: 10}}
	echo := []sample{{PerSecond: 100, CPU: 10}, {PerSecond: 100, CPU: 8}, {PerSecond: 100, CPU: 9}}
	r := newResult(e, "memory", rounds, echo)
	require.InDelta(t, 80, r.PerSecond, 0)
	require.InDelta(t, 0.8, r.RateRatio, 0)
	require.InDelta(t, 0.8, r.CPURatio, 0)
	low, high := r.spread()
	require.InDelta(t, 0.5, low, 0)
	require.InDelta(t, 0.9, high, 0)
}

// TestShares: the point's share is what remains after the echo's clients are
// subtracted.
func TestShares(t *testing.T) {
	r := &report{Requests: []result{
		{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "echo", sample: sample{CPU: 100}},
		{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "memory", RequestBytes: 250, AnswerBytes: 7, sample: sample{CPU: 110}},
		{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "LevelDB", sample: sample{CPU: 120}},
		{Request: "REGISTER again", Transport: "TCP", Stream: keptStream, Side: "memory", sample: sample{CPU: 1}},
	}}
	var out strings.Builder
	writeShares(&out, r)
	require.Contains(t, out.String(), "| REGISTER again | fresh | 60 | 70 | 250 | 7 |\n")
	require.Equal(t, 4, strings.Count(out.String(), "\n"), out.String())
}

// TestCostOf: what the process takes while it is idle is not counted, and a request that
// fails is an error.
func TestCostOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cost := func(idle usage, send bool, err error) (sample, error) {
			var c requestCounter
			return costOf(t.Context(), time.Second, idle, &c, func(ctx context.Context) error {
				go func() {
					for ; send && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
						c.add(err)
						c.add(context.Canceled) // does not count
					}
				}()
				return nil
			})
		}
		s, err := cost(usage{}, true, nil)
		require.NoError(t, err)
		require.InDelta(t, 10, s.PerSecond, 1)
		s, err = cost(usage{cpu: time.Hour}, true, nil)
		require.NoError(t, err)
		require.Negative(t, s.CPU)
		_, err = cost(usage{}, true, errors.New("refused"))
		require.Error(t, err)
		_, err = cost(usage{}, false, nil)
		require.Error(t, err)
		time.Sleep(time.Second) // until nothing is sent any more
	})
}

// TestKept: the ratio is that of the echo to the refreshes.
func TestKept(t *testing.T) {
	var out strings.Builder
	writeKept(&out, &report{})
	require.Empty(t, out.String())
	writeKept(&out, &report{Kept: []keptCost{{Transport: "TCP", Clients: 96, Namespaces: 10, PerSecond: 600, CPU: 50, Echo: 100}}})
	require.Contains(t, out.String(), "| one of 96 clients, in 10 namespaces each | TCP | 600 | 50.0 | 0.0 | 0 | 100.0 | 2.00 |\n")
}

func TestSample(t *testing.T) {
	require.Zero(t, newSample(usage{}, nil))
	var latencies []time.Duration
	for i := range 101 {
		latencies = append(latencies, time.Duration(100-i)*time.Microsecond)
	}
	s := newSample(usage{elapsed: time.Second, cpu: 202 * time.Microsecond, allocs: 303, bytes: 404}, latencies)
	require.Equal(t, sample{PerSecond: 101, P50: 50, P99: 99, CPU: 2, Allocs: 3, Bytes: 4}, s)
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
}

// TestWriteDocs: the figures replace those between the two lines, and the plots are SVG.
func TestWriteDocs(t *testing.T) {
	r := &report{
		Requests: []result{
			{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "memory", RateRatio: 0.5, CPURatio: 0.4},
			{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "LevelDB", RateRatio: 0.3},
			{Request: "REGISTER again", Transport: "TCP", Stream: freshStream, Side: "library", RateRatio: 5, CPURatio: 6},
		},
		Heap: []heap{
			{Storage: "memory", Registrations: 20, Envelope: 100, PerEach: 200},
			{Storage: "memory", Registrations: 10, Envelope: 100, PerEach: 300},
			{Storage: "LevelDB", Registrations: 20, Envelope: 100, PerEach: 400},
		},
		Idle: []idleCost{{Transport: "TCP", What: "idle connection", Goroutines: 4, Bytes: 5000}},
	}
	dir := t.TempDir()
	pages := []string{filepath.Join(dir, "performance.md"), filepath.Join(dir, "operating.md")}
	for _, page := range pages {
		require.NoError(t, os.WriteFile(page, []byte("before\n"+figuresBegin+"old\n"+figuresEnd+"after\n"), 0o600))
	}
	require.NoError(t, writeDocs(dir, r))
	var text string
	for _, page := range pages {
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(b), "before\n"+figuresBegin), string(b))
		require.True(t, strings.HasSuffix(string(b), figuresEnd+"after\n"), string(b))
		require.NotContains(t, string(b), "old")
		text += string(b)
	}
	require.Contains(t, text, "| REGISTER again | raw | fresh | 0.50 | 0.92, **missed** | 0.40 | 0.30 |\n")
	require.Contains(t, text, "| REGISTER again | library | fresh | 5.00 | 2.50, reached | 6.00 |  |\n")
	require.Contains(t, text, "\nBytes of heap for one registration of 20, its envelope of 100 included:\n200 (memory), 400 (LevelDB).\n")
	require.Contains(t, text, "| idle connection | TCP | 4.0 | 5000 |\n")

	for _, name := range []string{"performance-ratios.svg", "performance-scale.svg", "performance-heap.svg"} {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		decoder := xml.NewDecoder(f)
		for err == nil {
			_, err = decoder.Token()
		}
		require.ErrorIs(t, err, io.EOF, name)
		require.NoError(t, f.Close())
	}

	require.NoError(t, os.WriteFile(pages[0], []byte("no such lines"), 0o600))
	require.ErrorContains(t, writeDocs(dir, r), "performance.md")
}

func TestReportFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	r := &report{Go: "go1.26", Requests: []result{{Request: "REGISTER again", sample: sample{PerSecond: 1}}}}
	require.NoError(t, r.save(file))
	got, err := readReport(file)
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err = readReport(file)
	require.ErrorContains(t, err, file)
}

func TestForEach(t *testing.T) {
	done := make([]bool, 100)
	require.NoError(t, forEach(len(done), func(i int) error { done[i] = true; return nil }))
	require.NotContains(t, done, false)
	failure := errors.New("failure")
	require.ErrorIs(t, forEach(3, func(i int) error {
		if i == 1 {
			return failure
		}
		return nil
	}), failure)
}
