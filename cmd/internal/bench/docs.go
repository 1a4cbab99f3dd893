package main

// The figures and plots in the documents.

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The figures in a document are between these two lines. All others are only printed.
const (
	figuresBegin = "<!-- measured -->\n"
	figuresEnd   = "<!-- end of measured -->\n"
)

// writeDocs replaces the figures in performance.md and operating.md, and the plots.
func writeDocs(dir string, r *report) error {
	var performance, operating bytes.Buffer
	writeHeader(&performance, r)
	writeTargets(&performance, r)
	writeKeptLine(&performance, r)
	writeHeapLine(&performance, r)
	writeOrigin(&operating, r)
	writeShares(&operating, r)
	writePerCore(&operating, r)
	writeIdle(&operating, r)
	writeHeapLine(&operating, r)
	for name, figures := range map[string][]byte{"performance.md": performance.Bytes(), "operating.md": operating.Bytes()} {
		if err := replaceFigures(filepath.Join(dir, name), figures); err != nil {
			return err
		}
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

func replaceFigures(file string, figures []byte) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(page, []byte(figuresBegin))
	_, after, ends := bytes.Cut(rest, []byte(figuresEnd))
	if !found || !ends {
		return fmt.Errorf("%s: no place for the figures: want the lines %q and %q", file, figuresBegin, figuresEnd)
	}
	page = slices.Concat(before, []byte(figuresBegin), figures, []byte(figuresEnd), after)
	return os.WriteFile(file, page, 0o644)
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
				b := bar{label: t.request + ", " + side, text: fmt.Sprintf("%.2f", x.RateRatio), value: x.RateRatio}
				if side == t.side {
					b.mark = t.ratio
				}
				if t.stream == keptStream {
					b.label += ", kept stream"
				}
				c.bars = append(c.bars, b)
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
