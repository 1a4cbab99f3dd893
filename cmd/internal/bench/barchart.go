package main

// Bar charts as SVG. gonum.org/v1/plot could draw them, but would add eight modules.

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// barChart has horizontal bars, one below the other.
type barChart struct {
	title string
	bars  []bar
}

type bar struct {
	label string  // to the left of the bar
	text  string  // to the right of the bar
	value float64 // the length of the bar
	mark  float64 // where to draw a red line, or 0
}

func (c *barChart) svg() []byte {
	const (
		barHeight  = 22
		labelWidth = 300
		barWidth   = 400
		width      = labelWidth + barWidth + 90
	)
	highest := 0.0
	for _, b := range c.bars {
		highest = max(highest, b.value, b.mark)
	}
	scale := func(v float64) int { return int(math.Round(barWidth * v / highest)) }

	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="13">`+"\n", width, 44+barHeight*len(c.bars), width)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n"+`<text x="8" y="22" font-weight="bold">%s</text>`+"\n", html.EscapeString(c.title))
	for i, b := range c.bars {
		y := 36 + barHeight*i
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+14, html.EscapeString(b.label))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="#4477aa"/>`, labelWidth, y+2, scale(b.value), barHeight-5)
		if b.mark > 0 {
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="2" height="%d" fill="#cc3311"/>`, labelWidth+scale(b.mark)-1, y, barHeight-1)
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d">%s</text>`+"\n", labelWidth+max(scale(b.value), scale(b.mark))+6, y+14, html.EscapeString(b.text))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}
