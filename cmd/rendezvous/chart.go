package main

// The charts of the status page, as SVG.

import (
	"fmt"
	"strconv"
	"strings"
)

// The size of a chart, in the units of its viewBox.
const (
	chartWidth  = historySize - 1
	chartHeight = 32
)

// chart is a number and how it came about.
type chart struct {
	Title  string
	Now    string
	Top    string // the highest value shown
	Line   string // points of an SVG polyline
	Width  int
	Height int
}

func newChart(title string, readings []reading, value func(reading) float64) chart {
	c := chart{Title: title, Now: "0", Top: "0", Width: chartWidth, Height: chartHeight}
	top := 0.0
	for _, r := range readings {
		top = max(top, value(r))
	}
	var line strings.Builder
	for i, r := range readings {
		x := chartWidth - (len(readings) - 1 - i) // the newest at the right edge
		y := float64(chartHeight - 1)
		if top > 0 {
			y -= value(r) / top * (chartHeight - 2)
		}
		fmt.Fprintf(&line, "%d,%.1f ", x, y)
	}
	if len(readings) > 0 {
		c.Now = compact(value(readings[len(readings)-1]))
	}
	c.Top, c.Line = compact(top), strings.TrimSpace(line.String())
	return c
}

// compact is a number in few characters: 987, 12.3k, 1.2M.
func compact(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 1, 64) + "M"
	case n >= 1e4:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + "k"
	default:
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
}
