//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// writeTable writes rows as a table.
func writeTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "fault\ttransport\tat points\tFindPeers\tWatch\tbar\tmesh\tbar\t(no mesh)\t(messages)\t")
	for _, r := range rows {
		ok := "ok"
		if r.missed() {
			ok = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%v\t%v\t%s\t%v\t%s\t%v\t%v\t%s\n",
			r.fault, r.transport, r.points, r.search, r.watch, bars(r.points, r.search, r.watch), r.mesh, bars(r.mesh), r.noMesh, r.messages, ok)
	}
	return t.Flush()
}

// bars returns the bars of cells, each once.
func bars(cells ...cell) string {
	var texts []string
	for _, c := range cells {
		if text := fmt.Sprintf("%g s", c.bar.Seconds()); c.measured && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", ")
}

// writeWorst writes the details of the cells that missed their bars, or of all cells: the
// nodes and the time, counted from the repair, and the total of lapses that were late.
func writeWorst(w io.Writer, r row, p period, all bool) {
	names := []string{"not registered where peers meet", "not found by FindPeers", "not known to Watch", "without a mesh that is possible", "without a mesh", "without messages"}
	for i, c := range r.cells() {
		if c.why != "" {
			fmt.Fprintf(w, "  %s, %s: %s\n", r.fault, r.transport, c.why)
		}
		if c.late.missed() || all && c.late.length > 0 {
			fmt.Fprintf(w, "  %s, %s: %s: %s: %.1f s in all, after the %g s in which it must be back\n",
				r.fault, r.transport, c.late.what, names[i], c.late.length.Seconds(), backBar.Seconds())
		}
		if !c.missed && !all || c.worst.length() == 0 {
			continue
		}
		l := c.worst
		until := fmt.Sprintf("%+.1f s", l.to.sub(p.back).Seconds())
		if l.open {
			until = "the end of the measurement"
		}
		fmt.Fprintf(w, "  %s, %s: %s: %s, from %+.1f s until %s\n", r.fault, r.transport, l.what, names[i], l.from.sub(p.back).Seconds(), until)
	}
}
