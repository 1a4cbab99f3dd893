//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// campaign runs faults, several at the same time.
type campaign struct {
	env      *environment
	faults   []fault
	timing   timing
	parallel int
	verbose  bool
}

// run runs all faults, the longest first, and writes a report.
func (c *campaign) run(ctx context.Context, w io.Writer) error {
	order := make([]int, len(c.faults))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(c.faults[b].lasts - c.faults[a].lasts) })
	results := make([]result, len(c.faults))
	var all errgroup.Group
	all.SetLimit(c.parallel)
	for _, i := range order {
		all.Go(func() error {
			f := &c.faults[i]
			c.env.say("%s: making the network", f.name)
			var err error
			results[i], err = f.happen(ctx, c.env, i, c.timing)
			results[i].err = err
			if err != nil {
				c.env.say("%s: %v", f.name, err)
			}
			return nil
		})
	}
	_ = all.Wait() // errors are in the results
	return c.report(w, results)
}

func (c *campaign) report(w io.Writer, results []result) error {
	var rows []row
	for _, r := range results {
		rows = append(rows, r.rows...)
	}
	if err := writeTable(w, rows); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	fmt.Fprintln(w)
	missed, failed := 0, 0
	var late time.Duration
	for _, r := range results {
		for _, row := range r.rows {
			if row.missed() {
				missed++
			}
			writeWorst(w, row, r.period, c.verbose)
		}
		if r.shares != nil {
			fmt.Fprintf(w, "%s: %v\n", r.fault.title, r.shares)
			if r.shares.missed() {
				missed++
			}
		}
		if r.err != nil {
			failed++
			fmt.Fprintf(w, "%s: not measured: %v\n", r.fault.title, r.err)
		}
		if r.history != nil {
			late = max(late, r.history.registrations.lateness)
		}
	}
	fmt.Fprintf(w, "The observer asked each point every %.2f s, and was late by at most %.2f s.\n", askEvery.Seconds(), late.Seconds())
	if missed+failed > 0 {
		return fmt.Errorf("%d bars were missed in %d rows, %d of %d faults were not measured; logs are in %s",
			missed, len(rows), failed, len(results), c.env.logs)
	}
	return nil
}

func newEnvironment(command, logs string) (*environment, error) {
	command, err := filepath.Abs(command)
	if err != nil {
		return nil, fmt.Errorf("find the rendezvous command: %w", err)
	}
	if _, err := os.Stat(command); err != nil {
		return nil, fmt.Errorf("find the rendezvous command, which make build makes: %w", err)
	}
	if err := os.RemoveAll(logs); err != nil {
		return nil, fmt.Errorf("remove old logs: %w", err)
	}
	begun := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%5.0f s  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	return &environment{rendezvous: command, logs: logs, say: say}, nil
}
