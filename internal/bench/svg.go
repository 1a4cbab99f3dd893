package main

// Plots: bars, one below the other.

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

type plot struct {
	title string
	bars  []plotBar
}

type plotBar struct {
	label string
	text  string // what is written beside the bar
	value float64
	mark  float64 // what is to be reached, or 0
}

const (
	barHeight  = 22
	labelWidth = 300
	barsWidth  = 400
	plotWidth  = labelWidth + barsWidth + 90
)

func (p plot) svg() []byte {
	var b bytes.Buffer
	height := 44 + barHeight*len(p.bars)
	most := 0.0
	for _, x := range p.bars {
		most = max(most, x.value, x.mark)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, height, plotWidth)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n"+`<text x="8" y="22" font-weight="bold">%s</text>`+"\n", html.EscapeString(p.title))
	scale := func(v float64) int { return int(math.Round(barsWidth * v / most)) }
	for i, x := range p.bars {
		y := 36 + barHeight*i
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+14, html.EscapeString(x.label))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#4477aa"/>`, labelWidth, y+2, scale(x.value), barHeight-5)
		if x.mark > 0 {
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="2" height="%d" fill="#cc3311"/>`, labelWidth+scale(x.mark)-1, y, barHeight-1)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", labelWidth+max(scale(x.value), scale(x.mark))+6, y+14, html.EscapeString(x.text))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (r *report) plotRatios() plot {
	p := plot{title: "Rate ratio: requests per second, divided by the echo's (red: target); TCP"}
	for _, b := range bars {
		for _, side := range []string{b.side, "LevelDB"} {
			x, ok := r.find(b.request, b.stream, side)
			if !ok || side == "LevelDB" && b.side != "memory" {
				continue
			}
			p.bars = append(p.bars, plotBar{
				label: fmt.Sprintf("%s, %s, %s", b.request, b.stream, side),
				text:  fmt.Sprintf("%.2f", x.RateRatio), value: x.RateRatio, mark: b.ratio,
			})
		}
	}
	return p
}

func (r *report) plotScale() plot {
	p := plot{title: "DISCOVER from memory, requests per second; TCP, fresh stream"}
	for _, n := range []string{"10", "50", "1000"} {
		for _, of := range []string{"1,000", "100,000"} {
			if x, ok := r.find("DISCOVER "+n+" of "+of, "fresh", "memory"); ok {
				p.bars = append(p.bars, plotBar{label: n + " of " + of, text: fmt.Sprintf("%.0f", x.PerSecond), value: x.PerSecond})
			}
		}
	}
	return p
}

func (r *report) plotHeap() plot {
	p := plot{title: "Heap per registration in bytes (red: its envelope)"}
	for _, h := range r.Heap {
		p.bars = append(p.bars, plotBar{
			label: fmt.Sprintf("%s, %d", h.Storage, h.Registrations),
			text:  fmt.Sprintf("%.0f", h.PerEach), value: h.PerEach, mark: float64(h.Envelope),
		})
	}
	return p
}

// spread returns the least and the most of values.
func spread(values []float64) (low, high float64) {
	if len(values) == 0 {
		return 0, 0
	}
	return slices.Min(values), slices.Max(values)
}
