package main

// The tables and plots in the documents.

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// The tables in performance.md are between these two lines. The longest table, of all
// requests, is only printed.
const (
	tablesBegin = "<!-- measured -->\n"
	tablesEnd   = "<!-- end of measured -->\n"
)

// writeDocs replaces the tables in performance.md, and the plots beside it.
func writeDocs(dir string, r *report) error {
	if err := replaceTables(filepath.Join(dir, "performance.md"), r); err != nil {
		return err
	}
	for name, p := range map[string]barChart{
		"performance-ratios.svg": ratioChart(r),
		"performance-scale.svg":  scaleChart(r),
		"performance-heap.svg":   heapChart(r),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), p.svg(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func replaceTables(file string, r *report) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(page, []byte(tablesBegin))
	_, after, ends := bytes.Cut(rest, []byte(tablesEnd))
	if !found || !ends {
		return fmt.Errorf("%s: no place for the tables: want the lines %q and %q", file, tablesBegin, tablesEnd)
	}
	var out bytes.Buffer
	out.Write(before)
	out.WriteString(tablesBegin)
	writeHeader(&out, r)
	writeTargets(&out, r)
	writeMemory(&out, r)
	out.WriteString(tablesEnd)
	out.Write(after)
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func ratioChart(r *report) barChart {
	c := barChart{title: "Rate ratio: requests per second, divided by the echo's (red: target); TCP"}
	for _, t := range targets {
		sides := []string{t.side}
		if t.side == "memory" {
			sides = append(sides, "LevelDB")
		}
		for _, side := range sides {
			if x, ok := r.find(t.request, t.stream, side); ok {
				c.bars = append(c.bars, bar{
					label: fmt.Sprintf("%s, %s, %s", t.request, t.stream, side),
					text:  fmt.Sprintf("%.2f", x.RateRatio), value: x.RateRatio, mark: t.ratio,
				})
			}
		}
	}
	return c
}

func scaleChart(r *report) barChart {
	c := barChart{title: "DISCOVER from memory, requests per second; TCP, fresh stream"}
	for _, limit := range []string{"10", "50", "1000"} {
		for _, size := range []string{"1,000", "100,000"} {
			if x, ok := r.find("DISCOVER "+limit+" of "+size, freshStream, "memory"); ok {
				c.bars = append(c.bars, bar{label: limit + " of " + size, text: fmt.Sprintf("%.0f", x.PerSecond), value: x.PerSecond})
			}
		}
	}
	return c
}

func heapChart(r *report) barChart {
	c := barChart{title: "Heap per registration in bytes (red: its envelope)"}
	for _, h := range r.Heap {
		c.bars = append(c.bars, bar{
			label: fmt.Sprintf("%s, %d", h.Storage, h.Registrations),
			text:  fmt.Sprintf("%.0f", h.PerEach), value: h.PerEach, mark: float64(h.Envelope),
		})
	}
	return c
}
