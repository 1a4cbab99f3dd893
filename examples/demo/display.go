package main

// What the demonstration shows.

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// display writes one line a step, with how long the step took. On a terminal the
// line of the step under way is drawn again as things change.
type display struct {
	out     io.Writer
	live    bool
	nodes   int
	started time.Time
	last    time.Time // when the last step ended
}

func newDisplay(out io.Writer, nodes int) *display {
	d := &display{out: out, nodes: nodes, started: time.Now()}
	d.last = d.started
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		d.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return d
}

// step says that something is done, and how long it took.
func (d *display) step(format string, args ...any) {
	now := time.Now()
	if d.live {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
	fmt.Fprintf(d.out, "%7.2fs  %s\n", now.Sub(d.last).Seconds(), fmt.Sprintf(format, args...))
	d.last = now
}

// until waits until count is that of all nodes, and shows how it gets there.
func (d *display) until(ctx context.Context, s *nodes, count func() int, format string, args ...any) error {
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
			return fmt.Errorf("%d of %d %s: %w", n, len(s.all), what, context.Cause(ctx))
		}
	}
}

func (d *display) progress(n int, what string) {
	if d.live {
		fmt.Fprintf(d.out, "\r\x1b[K          %s %2d/%d %s", bar(n, d.nodes), n, d.nodes, what)
		return
	}
	fmt.Fprintf(d.out, "          %s %2d/%d %s\n", bar(n, d.nodes), n, d.nodes, what)
}

func (d *display) done() {
	fmt.Fprintf(d.out, "%7.2fs  in all\n", time.Since(d.started).Seconds())
}

// bar is n of all as a bar.
func bar(n, all int) string {
	const width = 20
	full := n * width / all
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
