package main

// The tables of a report, in Markdown.

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// writeTables writes all tables.
func writeTables(w io.Writer, r *report) {
	writeHeader(w, r)
	writeTargets(w, r)
	writeRequests(w, r)
	writeShares(w, r)
	writeKept(w, r)
	writePerCore(w, r)
	writeHeap(w, r)
	writeIdle(w, r)
}

// writeShares writes what one request costs the point alone. Half of the echo's CPU time is
// that of its clients, which do the same as those of the point.
func writeShares(w io.Writer, r *report) {
	fmt.Fprintln(w, "\n| one request, over TCP | stream | CPU µs of the point | with LevelDB | bytes received | bytes sent |\n|---|---|--:|--:|--:|--:|")
	for _, t := range targets {
		echo, hasEcho := r.find(t.request, t.stream, "echo")
		x, ok := r.find(t.request, t.stream, t.side)
		if !hasEcho || !ok || t.side != "memory" {
			continue
		}
		levelDB := ""
		if l, ok := r.find(t.request, t.stream, "LevelDB"); ok {
			levelDB = fmt.Sprintf("%.0f", l.CPU-echo.CPU/2)
		}
		fmt.Fprintf(w, "| %s | %s | %.0f | %s | %d | %d |\n", t.request, t.stream, x.CPU-echo.CPU/2, levelDB, x.RequestBytes, x.AnswerBytes)
	}
}

// writeKept writes what clients that stay registered cost.
func writeKept(w io.Writer, r *report) {
	if len(r.Kept) > 0 {
		fmt.Fprintln(w, "\n| a refresh of a client that stays registered | transport | refreshes/s | CPU µs, both ends | of the point | allocs | bytes | CPU µs of an echo, fresh, as often | CPU ratio | target |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	}
	for _, k := range r.Kept {
		fmt.Fprintf(w, "| one of %d clients, in %d namespaces each | %s | %.0f | %.1f | %.1f | %.1f | %.0f | %.1f | %.2f | %s |\n",
			k.Clients, k.Namespaces, k.Transport, k.PerSecond, k.CPU, k.Point, k.Allocs, k.Bytes, k.Echo, k.ratio(), verdict(k.ratio(), keptTarget))
	}
}

// writeKeptLine writes what a refresh of a client that stays registered costs over TCP.
func writeKeptLine(w io.Writer, r *report) {
	for _, k := range r.Kept {
		if k.Transport == "TCP" {
			fmt.Fprintf(w, "\nA refresh of a client that stays registered in %d namespaces: %.0f µs of CPU time, both ends\n"+
				"together. An echo over a fresh stream, as often: %.0f µs. CPU ratio: %.2f, target: %s.\n",
				k.Namespaces, k.CPU, k.Echo, k.ratio(), verdict(k.ratio(), keptTarget))
		}
	}
}

// refreshInterval is about how often a client refreshes a registration.
const refreshInterval = rendezvous.MaxTTL / 2

// writePerCore writes what a refresh of a client that stays registered costs the point over TCP, and
// what that makes per core.
func writePerCore(w io.Writer, r *report) {
	for _, k := range r.Kept {
		if k.Transport == "TCP" && k.Point > 0 {
			perSecond := float64(time.Second/time.Microsecond) / k.Point
			registrations := math.Floor(perSecond*refreshInterval.Seconds()/10_000) * 10 // thousands
			fmt.Fprintf(w, "\nA refresh of a client that stays registered in %d namespaces: %.0f µs of the point's CPU time.\n"+
				"That makes %.0f thousand a second on one core: %.0f thousand registrations that are refreshed\nevery %.0f seconds.\n",
				k.Namespaces, k.Point, perSecond/1000, registrations, refreshInterval.Seconds())
		}
	}
}

// verdict returns a target, and whether a ratio reaches it.
func verdict(ratio, target float64) string {
	if ratio >= target {
		return fmt.Sprintf("%.2f, reached", target)
	}
	return fmt.Sprintf("%.2f, **missed**", target)
}

// writeHeader writes where and how the report was measured, and what the ratios are.
func writeHeader(w io.Writer, r *report) {
	writeOrigin(w, r)
	fmt.Fprint(w, "Rate ratio: requests per second, divided by the echo's.\n"+
		"CPU ratio: the echo's CPU time per request, divided by that of the row's request.\n\n")
}

// writeTargets writes the requests that have a target. The raw client uses the kind of stream
// that its echo uses, and the library keeps streams whatever the echo does.
func writeTargets(w io.Writer, r *report) {
	fmt.Fprintln(w, "| request, over TCP | client | stream of the echo | rate ratio | target | CPU ratio | rate ratio with LevelDB |\n|---|---|---|--:|--:|--:|--:|")
	for _, t := range targets {
		x, ok := r.find(t.request, t.stream, t.side)
		if !ok {
			continue
		}
		client, levelDB := t.side, ""
		if t.side == "memory" {
			client = "raw"
			if l, ok := r.find(t.request, t.stream, "LevelDB"); ok {
				levelDB = fmt.Sprintf("%.2f", l.RateRatio)
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s | %.2f | %s |\n",
			t.request, client, t.stream, x.RateRatio, verdict(x.RateRatio, t.ratio), x.CPURatio, levelDB)
	}
}

// writeOrigin writes where and how the report was measured.
func writeOrigin(w io.Writer, r *report) {
	fmt.Fprintf(w, "%s on %s with %d CPUs; %d clients; medians of %d rounds of %.2g s.\n",
		r.Go, r.Platform, r.CPUs, r.Clients, r.Rounds, r.RoundSeconds)
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

func writeHeap(w io.Writer, r *report) {
	if len(r.Heap) > 0 {
		fmt.Fprintln(w, "\n| storage | registrations | heap bytes per registration | its envelope |\n|---|--:|--:|--:|")
	}
	for _, h := range r.Heap {
		fmt.Fprintf(w, "| %s | %d | %.0f | %d |\n", h.Storage, h.Registrations, h.PerEach, h.Envelope)
	}
}

func writeIdle(w io.Writer, r *report) {
	if len(r.Idle) > 0 {
		fmt.Fprintln(w, "\n| one of | transport | goroutines | bytes of heap and stacks |\n|---|---|--:|--:|")
	}
	for _, c := range r.Idle {
		fmt.Fprintf(w, "| %s | %s | %.1f | %.0f |\n", c.What, c.Transport, c.Goroutines, c.Bytes)
	}
}

// writeHeapLine writes the heap per registration for the largest number of registrations.
func writeHeapLine(w io.Writer, r *report) {
	if len(r.Heap) == 0 {
		return
	}
	most := slices.MaxFunc(r.Heap, func(a, b heap) int { return a.Registrations - b.Registrations })
	var each []string
	for _, h := range r.Heap {
		if h.Registrations == most.Registrations {
			each = append(each, fmt.Sprintf("%.0f (%s)", h.PerEach, h.Storage))
		}
	}
	fmt.Fprintf(w, "\nBytes of heap for one registration of %d, its envelope of %d included:\n%s.\n", most.Registrations, most.Envelope, strings.Join(each, ", "))
}
