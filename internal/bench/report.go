package main

// What comes out: tables, JSON, and the page in docs.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

type report struct {
	Go           string   `json:"go"`
	Platform     string   `json:"platform"`
	CPUs         int      `json:"cpus"`
	Clients      int      `json:"clients"`
	Rounds       int      `json:"rounds"`
	RoundSeconds float64  `json:"round_seconds"`
	Requests     []result `json:"requests"`
	Heap         []heap   `json:"heap,omitempty"`
	Crowd        []crowd  `json:"crowd,omitempty"`
}

// bar is what must be reached over TCP.
type bar struct {
	request, stream, side string
	ratio                 float64
}

var bars = []bar{
	{"REGISTER again", "fresh", "memory", 0.95},
	{"REGISTER first", "fresh", "memory", 0.70},
	{"DISCOVER 50 of 100,000", "fresh", "memory", 0.90},
	{"DISCOVER 1000 of 100,000", "fresh", "memory", 0.80},
	{"REGISTER again", "kept", "memory", 0.80},
	{"DISCOVER 50 of 1,000", "fresh", "library", 0.80},
}

// find returns the result of an experiment over TCP.
func (r *report) find(request, stream, side string) (result, bool) {
	for _, x := range r.Requests {
		if x.Transport == "TCP" && x.Request == request && x.Stream == stream && x.Side == side {
			return x, true
		}
	}
	return result{}, false
}

// writeTables writes all results.
func (r *report) writeTables(w io.Writer) {
	r.writeHeader(w)
	r.writeBars(w)
	r.writeRequests(w)
	r.writeMemory(w)
}

// writeSummary writes the results that docs/performance.md shows: those with a target,
// and memory.
func (r *report) writeSummary(w io.Writer) {
	r.writeHeader(w)
	r.writeBars(w)
	r.writeMemory(w)
}

func (r *report) writeHeader(w io.Writer) {
	fmt.Fprintf(w, "%s on %s with %d CPUs; %d clients; medians of %d rounds of %.2g s.\n\n",
		r.Go, r.Platform, r.CPUs, r.Clients, r.Rounds, r.RoundSeconds)
}

func (r *report) writeBars(w io.Writer) {
	fmt.Fprintln(w, "| over TCP | stream | side | rate ratio | target | CPU ratio | rate, LevelDB / memory |\n|---|---|---|--:|--:|--:|--:|")
	for _, b := range bars {
		x, ok := r.find(b.request, b.stream, b.side)
		if !ok {
			continue
		}
		verdict := "reached"
		if x.RateRatio < b.ratio {
			verdict = "**missed**"
		}
		beside := ""
		if l, ok := r.find(b.request, b.stream, "LevelDB"); ok && b.side == "memory" {
			beside = fmt.Sprintf("%.2f", l.RateRatio/x.RateRatio)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.2f, %s | %.2f | %s |\n",
			b.request, b.stream, b.side, x.RateRatio, b.ratio, verdict, x.CPURatio, beside)
	}
}

func (r *report) writeRequests(w io.Writer) {
	fmt.Fprintln(w, "\n| request | transport | stream | side | requests/s | of the echo's | lowest–highest round | CPU, echo's of it | µs CPU | p50 µs | p99 µs | allocs | bytes |\n"+
		"|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, x := range r.Requests {
		low, high := spread(x.Rounds)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %.2f | %.2f–%.2f | %.2f | %.0f | %.0f | %.0f | %.1f | %.0f |\n",
			x.Request, x.Transport, x.Stream, x.Side, x.PerSecond, x.RateRatio, low, high, x.CPURatio, x.CPU, x.P50, x.P99, x.Allocs, x.Bytes)
	}
}

func (r *report) writeMemory(w io.Writer) {
	if len(r.Heap) > 0 {
		fmt.Fprintln(w, "\n| storage | registrations | heap bytes per registration | its envelope |\n|---|--:|--:|--:|")
	}
	for _, h := range r.Heap {
		fmt.Fprintf(w, "| %s | %d | %.0f | %d |\n", h.Storage, h.Registrations, h.PerEach, h.Envelope)
	}
	if len(r.Crowd) > 0 {
		fmt.Fprintln(w, "\n| cost of one | transport | goroutines | bytes of heap and stacks |\n|---|---|--:|--:|")
	}
	for _, c := range r.Crowd {
		fmt.Fprintf(w, "| %s | %s | %.1f | %.0f |\n", c.What, c.Transport, c.Goroutines, c.Bytes)
	}
}

// readReport reads results that were saved.
func readReport(file string) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &report{}
	return r, json.Unmarshal(b, r)
}

// save writes the results as JSON to a file, and as tables and plots to a
// directory, where these are named.
func (r *report) save(file, docs string) error {
	if file != "" {
		b, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if docs == "" {
		return nil
	}
	return errors.Join(r.writePage(filepath.Join(docs, "performance.md")), r.writePlots(docs))
}

// The page's tables are between these lines.
const (
	pageBegin = "<!-- measured -->\n"
	pageEnd   = "<!-- end of measured -->\n"
)

func (r *report) writePage(file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(page, []byte(pageBegin))
	_, after, ends := bytes.Cut(rest, []byte(pageEnd))
	if !found || !ends {
		return fmt.Errorf("%s: where do the tables go? %q and %q are not in it", file, pageBegin, pageEnd)
	}
	var out bytes.Buffer
	out.Write(before)
	out.WriteString(pageBegin)
	r.writeSummary(&out)
	out.WriteString(pageEnd)
	out.Write(after)
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func (r *report) writePlots(dir string) error {
	plots := map[string]plot{
		"performance-ratios.svg": r.plotRatios(),
		"performance-scale.svg":  r.plotScale(),
		"performance-heap.svg":   r.plotHeap(),
	}
	for name, p := range plots {
		if err := os.WriteFile(filepath.Join(dir, name), p.svg(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
