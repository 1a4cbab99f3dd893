package main

import (
	"bufio"
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

	"github.com/libp2p/go-libp2p/core/peer"
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

// TestQuietest: work that goes on when the measurement begins, or now and then, is no part of idling.
func TestQuietest(t *testing.T) {
	for _, measured := range [][]time.Duration{{1, 2, 3}, {3, 1, 2}, {3, 2, 1}} {
		got := quietest(func() (u usage) {
			u.cpu, measured = measured[0], measured[1:]
			return u
		})
		require.Equal(t, usage{cpu: 1}, got)
		require.Empty(t, measured)
	}
}

// TestCostPerRequest: requests that cannot be counted are an error, at the beginning and at the end.
func TestCostPerRequest(t *testing.T) {
	ended := errors.New("the keepers have ended")
	for _, failing := range []int64{0, 1, 2} {
		calls := int64(0)
		_, err := costPerRequest(time.Millisecond, usage{}, func() (answered, failed int64, err error) {
			if calls++; calls == failing {
				err = ended
			}
			return calls, 0, err
		})
		if failing == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ended, failing)
		}
	}
}

// TestKept: the ratio is that of the echo to the refreshes, and is compared with the target.
func TestKept(t *testing.T) {
	var out strings.Builder
	writeKept(&out, &report{})
	require.Empty(t, out.String())
	kept := keptCost{Transport: "TCP", Clients: 96, Namespaces: 10, PerSecond: 600, CPU: 50, Echo: 100, Point: 20}
	better := kept
	better.Echo = 125
	r := &report{Kept: []keptCost{kept, better}}
	writeKept(&out, r)
	require.Contains(t, out.String(), "| one of 96 clients, in 10 namespaces each | TCP | 600 | 50.0 | 20.0 | 0.0 | 0 | 100.0 | 2.00 | 2.50, **missed** |\n")
	require.Contains(t, out.String(), "| 125.0 | 2.50 | 2.50, reached |\n")
	out.Reset()
	writeKeptLine(&out, r)
	require.Contains(t, out.String(), "CPU ratio: 2.00, target: 2.50, **missed**.\n")
	require.Contains(t, out.String(), "CPU ratio: 2.50, target: 2.50, reached.\n")
}

// TestPerCore: a core makes as many refreshes as fit into a second of the point's CPU time.
func TestPerCore(t *testing.T) {
	var out strings.Builder
	writePerCore(&out, &report{Kept: []keptCost{{Transport: "TCP", Namespaces: 10, CPU: 50, Echo: 100}}}) // saved before the point's share was measured
	require.Empty(t, out.String())
	writePerCore(&out, &report{Kept: []keptCost{{Transport: "TCP", Namespaces: 10, CPU: 50, Echo: 100, Point: 24}}})
	require.Equal(t, "\nA refresh of a client that stays registered in 10 namespaces: 24 µs of the point's CPU time.\n"+
		"That makes 42 thousand a second on one core: 410 thousand registrations that are refreshed\nevery 10 seconds.\n", out.String())
}

// TestKeepers: the keepers stay registered at a point, and say how often they were answered.
func TestKeepers(t *testing.T) {
	b := &testbed{transport: "TCP"}
	defer b.close()
	p, err := b.newPoint(t.Context(), openMemory, nil)
	require.NoError(t, err)
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()})
	require.NoError(t, err)
	in, toKeepers := io.Pipe()
	fromKeepers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- runKeepers(t.Context(), addrs[0].String(), in, out) }()
	keepers := &child{in: toKeepers, out: bufio.NewReader(fromKeepers)}

	const registrations = numClients * keptPerHost * keptNamespaces
	registered, failed, err := askKeepers(keepers, keepersRegister)
	require.NoError(t, err)
	require.Zero(t, failed)
	require.GreaterOrEqual(t, registered, int64(registrations))
	counts, err := p.storage.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, registrations, counts.Registrations)
	require.Eventually(t, func() bool {
		answered, failed, err := askKeepers(keepers, keepersCount)
		return err == nil && failed == 0 && answered >= registered+registrations
	}, 10*keptTTL, 100*time.Millisecond)

	require.NoError(t, toKeepers.Close())
	require.NoError(t, <-ended)
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
		Kept: []keptCost{{Transport: "TCP", Namespaces: 10, CPU: 50, Echo: 150, Point: 20}},
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
	require.Contains(t, text, "CPU ratio: 3.00, target: 2.50, reached.\n")
	require.Contains(t, text, "20 µs of the point's CPU time.\n")
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
