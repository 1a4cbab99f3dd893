package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// row is a client, and how it reaches which point, or a server, and how clients reach it,
// with the outcome of each step.
type row struct {
	program   string
	protocol  protocol.ID
	transport string // as in the point's address
	storage   string // of the point

	err      error // why not all steps were tried, apart from the outcome of a step
	outcomes []outcome
}

type outcome struct {
	step string
	err  error // nil: it works
}

var errNotTried = errors.New("not tried")

func (r *row) failed() bool {
	for _, o := range r.outcomes {
		if o.err != nil {
			return true
		}
	}
	return r.err != nil
}

// printTable prints a line for each row, and below the table why steps failed. of says what
// the rows are.
func printTable(out io.Writer, of string, rows []*row) {
	line := func(cells []string) { _, _ = fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	header := []string{of, "transport", "protocol", "storage"}
	for _, o := range rows[0].outcomes {
		header = append(header, o.step)
	}
	line(header)
	line(strings.Split(strings.Repeat("--- ", len(header)-1)+"---", " "))
	var why []string
	for _, r := range rows {
		cells := []string{r.program, r.transport, string(r.protocol), r.storage}
		name := strings.Join(cells, ", ")
		for _, o := range r.outcomes {
			cells = append(cells, o.String())
			if o.err != nil && !errors.Is(o.err, errNotTried) {
				why = append(why, fmt.Sprintf("%s: %s: %v", name, o.step, o.err))
			}
		}
		if r.err != nil {
			why = append(why, fmt.Sprintf("%s: %v", name, r.err))
		}
		line(cells)
	}
	for _, w := range why {
		_, _ = fmt.Fprintln(out, w)
	}
}

// String returns what the table says of a step.
func (o *outcome) String() string {
	switch {
	case o.err == nil:
		return "ok"
	case errors.Is(o.err, errNotTried):
		return "not tried"
	default:
		return "FAILED"
	}
}
