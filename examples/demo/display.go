package main

// The output of the demo.

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// display prints a line for each step, with the time that the step took. On a terminal,
// the line of the current step is redrawn when its progress changes.
type display struct {
	out      io.Writer
	terminal bool // out is one
	nodes    int
	started  time.Time
	lastStep time.Time // when the last step ended
}

func newDisplay(out io.Writer, nodes int) *display {
	d := &display{out: out, nodes: nodes, started: time.Now()}
	d.lastStep = d.started
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		d.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return d
}

// step prints that a step is done.
func (d *display) step(format string, args ...any) {
	now := time.Now()
	if d.terminal {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
	fmt.Fprintf(d.out, "%7.2fs  %s\n", now.Sub(d.lastStep).Seconds(), fmt.Sprintf(format, args...))
	d.lastStep = now
}

// waitForAll waits until count returns the number of all nodes. It shows the progress.
func (d *display) waitForAll(ctx context.Context, count func() int, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	shown := -1
	for {
		n := count()
		if n == d.nodes {
			d.step("%s %2d/%d %s", bar(n, d.nodes), n, d.nodes, what)
			return nil
		}
		if n != shown {
			d.progress(n, what)
			shown = n
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %s: %w", n, d.nodes, what, context.Cause(ctx))
		}
	}
}

func (d *display) progress(n int, what string) {
	if d.terminal {
		fmt.Fprintf(d.out, "\r\x1b[K          %s %2d/%d %s", bar(n, d.nodes), n, d.nodes, what)
		return
	}
	fmt.Fprintf(d.out, "          %s %2d/%d %s\n", bar(n, d.nodes), n, d.nodes, what)
}

func (d *display) done() {
	fmt.Fprintf(d.out, "%7.2fs  in total\n", time.Since(d.started).Seconds())
}

// bar draws a progress bar.
func bar(n, total int) string {
	const width = 20
	full := n * width / total
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
