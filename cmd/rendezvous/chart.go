package main

// The charts of the status page. Each is one SVG polyline, which the browser scales.

import (
	"fmt"
	"strings"
)

// The size of a chart, in units of its viewBox: one unit of width for each interval
// between two readings.
const (
	chartWidth  = historySize - 1
	chartHeight = 32
)

// chart is a value and its history, for the page's template.
type chart struct {
	Title  string
	Now    string // the newest value
	Top    string // the highest value
	Line   string // the points of the polyline
	Width  int
	Height int
}

// newChart draws one value of the readings. The newest reading is at the right edge,
// and the highest value at the top.
func newChart(title string, readings []reading, value func(reading) float64) chart {
	c := chart{Title: title, Now: "0", Top: "0", Width: chartWidth, Height: chartHeight}
	top := 0.0
	for _, r := range readings {
		top = max(top, value(r))
	}
	var line []byte
	for i, r := range readings {
		x := chartWidth - (len(readings) - 1 - i)
		y := float64(chartHeight - 1)
		if top > 0 {
			y -= value(r) / top * (chartHeight - 2)
		}
		line = fmt.Appendf(line, "%d,%.1f ", x, y)
	}
	if len(readings) > 0 {
		c.Now = shortNumber(value(readings[len(readings)-1]))
	}
	c.Top, c.Line = shortNumber(top), strings.TrimSpace(string(line))
	return c
}
