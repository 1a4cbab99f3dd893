package main

// The tables of a report, in Markdown.

import (
	"fmt"
	"io"
)

// writeTables writes all tables.
func writeTables(w io.Writer, r *report) {
	writeHeader(w, r)
	writeTargets(w, r)
	writeRequests(w, r)
	writeShares(w, r)
	writeMemory(w, r)
}

// writeShares writes what one request costs the point alone, over a fresh stream. Half of
// the echo's CPU time is that of its clients, which do the same as those of the point.
func writeShares(w io.Writer, r *report) {
	fmt.Fprintln(w, "\n| one request, over TCP | CPU µs of the point | bytes received | bytes sent |\n|---|--:|--:|--:|")
	for _, x := range r.Requests {
		echo, ok := r.find(x.Request, freshStream, "echo")
		if ok && x.Transport == "TCP" && x.Stream == freshStream && (x.Side == "memory" || x.Side == "LevelDB") {
			fmt.Fprintf(w, "| %s, %s | %.0f | %d | %d |\n", x.Request, x.Side, x.CPU-echo.CPU/2, x.RequestBytes, x.AnswerBytes)
		}
	}
}

// writeHeader writes where and how the report was measured.
func writeHeader(w io.Writer, r *report) {
	fmt.Fprintf(w, "%s on %s with %d CPUs; %d clients; medians of %d rounds of %.2g s.\n",
		r.Go, r.Platform, r.CPUs, r.Clients, r.Rounds, r.RoundSeconds)
	fmt.Fprint(w, "Rate ratio: requests per second, divided by the echo's.\n"+
		"CPU ratio: the echo's CPU time per request, divided by the side's.\n\n")
}

func writeTargets(w io.Writer, r *report) {
	fmt.Fprintln(w, "| over TCP | stream | side | rate ratio | target | CPU ratio | rate, LevelDB / memory |\n|---|---|---|--:|--:|--:|--:|")
	for _, t := range targets {
		x, ok := r.find(t.request, t.stream, t.side)
		if !ok {
			continue
		}
		verdict := "reached"
		if x.RateRatio < t.ratio {
			verdict = "**missed**"
		}
		levelDB := ""
		if l, ok := r.find(t.request, t.stream, "LevelDB"); ok && t.side == "memory" {
			levelDB = fmt.Sprintf("%.2f", l.RateRatio/x.RateRatio)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.2f, %s | %.2f | %s |\n",
			t.request, t.stream, t.side, x.RateRatio, t.ratio, verdict, x.CPURatio, levelDB)
	}
}

func writeRequests(w io.Writer, r *report) {
	fmt.Fprintln(w, "\n| request | transport | stream | side | requests/s | rate ratio | lowest–highest round | CPU ratio | CPU µs | p50 µs | p99 µs | allocs | bytes |\n"+
		"|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, x := range r.Requests {
		low, high := x.spread()
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %.2f | %.2f–%.2f | %.2f | %.0f | %.0f | %.0f | %.1f | %.0f |\n",
			x.Request, x.Transport, x.Stream, x.Side, x.PerSecond, x.RateRatio, low, high, x.CPURatio, x.CPU, x.P50, x.P99, x.Allocs, x.Bytes)
	}
}

func writeMemory(w io.Writer, r *report) {
	if len(r.Heap) > 0 {
		fmt.Fprintln(w, "\n| storage | registrations | heap bytes per registration | its envelope |\n|---|--:|--:|--:|")
	}
	for _, h := range r.Heap {
		fmt.Fprintf(w, "| %s | %d | %.0f | %d |\n", h.Storage, h.Registrations, h.PerEach, h.Envelope)
	}
	if len(r.Idle) > 0 {
		fmt.Fprintln(w, "\n| cost of one | transport | goroutines | bytes of heap and stacks |\n|---|---|--:|--:|")
	}
	for _, c := range r.Idle {
		fmt.Fprintf(w, "| %s | %s | %.1f | %.0f |\n", c.What, c.Transport, c.Goroutines, c.Bytes)
	}
}
