package main

// Running each attack by itself.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
	"time"
)

// campaign says which attacks to run, and how.
type campaign struct {
	scale    scale
	duration time.Duration // of each attack
	selected *regexp.Regexp
	onRedis  bool // the point's storage is on Redis
	out      io.Writer
	logs     *logCounter
}

// run runs each attack and prints a table. The first row is without an attack, for
// comparison.
func (c *campaign) run(ctx context.Context) error {
	b, err := newTestbed(ctx, c.onRedis)
	if err != nil {
		return err
	}
	noAttack := attack{name: "none", peers: noPeers, sendsNothing: true, run: func(ctx context.Context, _ *attackers) { <-ctx.Done() }}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "attack\tsent\thonest\tfailed\tp50\tp99\theap MiB\tstacks MiB\tsent MiB\tclean after\tlog lines\t\t")
	var missed []error
	for _, a := range append([]attack{noAttack}, attacks...) {
		if ctx.Err() != nil || !c.includes(a) {
			continue
		}
		r, err := c.runAttack(ctx, b, a)
		if err != nil {
			missed = append(missed, fmt.Errorf("%s: %w", a.name, err))
			continue
		}
		err = r.check()
		missed = append(missed, err)
		c.printRow(table, &r, err)
	}
	return errors.Join(append(missed, context.Cause(ctx), b.close())...)
}

// includes reports whether an attack is to be run.
func (c *campaign) includes(a attack) bool {
	return c.selected.MatchString(a.name) && (c.onRedis || !a.redis)
}

func (c *campaign) printRow(table *tabwriter.Writer, r *result, missed error) {
	verdict, cleanup := "ok", r.cleanup.Round(time.Second).String()
	if r.lastLine != "" {
		verdict += " (" + r.lastLine + ")"
	}
	if missed != nil {
		verdict = "MISSED"
	}
	if r.leftover != "" {
		cleanup = "never"
	}
	succeeded, errs := r.stats.counts()
	fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%v\t%v\t%d\t%d\t%d\t%s\t%d\t%s\t\n", r.name, r.sent, succeeded+len(errs), len(errs),
		r.stats.percentile(50).Round(100*time.Microsecond), r.stats.percentile(99).Round(100*time.Microsecond), r.grow.heap>>20, r.grow.stacks>>20, r.egress.all>>20, cleanup, r.logLines, verdict)
	_ = table.Flush()
}

// runAttack runs one attack while honest peers use the point, and waits until nothing of it
// is left.
func (c *campaign) runAttack(ctx context.Context, b *testbed, a attack) (result, error) {
	before := usageNow()
	hostile := &attackers{testbed: b, attack: a, duration: c.duration, stats: new(honestStats), scale: c.scale}
	defer func() { _ = hostile.close() }()
	r, err := c.measure(ctx, hostile)
	if err != nil {
		return r, err
	}
	ended := time.Now()
	r.leftover = awaitCleanup(ctx, b, hostile, before)
	r.cleanup = time.Since(ended)
	return r, nil
}

// measure runs one attack while honest peers use the point.
func (c *campaign) measure(ctx context.Context, hostile *attackers) (result, error) {
	b, a := hostile.testbed, hostile.attack
	r := result{name: a.name, stats: hostile.stats}
	stop := b.startHonest(ctx, c.scale.honest, r.stats)
	err := errors.Join(hostile.prepare(ctx), awaitRequests(ctx, r.stats, 2*c.scale.honest))
	if err != nil {
		return r, errors.Join(err, stop())
	}
	linesBefore, heapBefore, stacksBefore := c.logs.lines.Load(), usageNow().heap, stacks()
	r.stats.reset()
	begun := time.Now()
	measured, end := context.WithCancel(ctx)
	defer end()
	largest := watchPeak(measured)
	c.attack(ctx, hostile)
	end()
	_ = awaitRequests(ctx, r.stats, min(1, c.scale.honest)) // their errors are in the result
	used := <-largest
	r.grow, r.sent = peak{used.heap - heapBefore - hostile.allowed.Load(), used.stacks - stacksBefore}, hostile.sent.Load()
	if err := stop(); err != nil {
		return r, err
	}
	r.egress = newEgress(hostile, time.Since(begun))
	if r.logLines = c.logs.lines.Load() - linesBefore; r.logLines > 0 {
		r.lastLine = *c.logs.last.Load()
	}
	return r, nil
}

// attack attacks for the time of the campaign, or for as long as it takes to send anything,
// which may be longer on a busy machine.
func (c *campaign) attack(ctx context.Context, hostile *attackers) {
	const most = 30 * time.Second
	for d := c.duration; d <= most && ctx.Err() == nil; d *= 2 {
		func() {
			ctx, end := context.WithTimeout(ctx, d)
			defer end()
			hostile.attack.run(ctx, hostile)
		}()
		if hostile.sent.Load() > 0 || hostile.attack.sendsNothing {
			return
		}
	}
}

// awaitRequests waits until n honest requests have succeeded. It fails if one fails.
func awaitRequests(ctx context.Context, stats *honestStats, n int) error {
	for ctx.Err() == nil {
		succeeded, errs := stats.counts()
		if succeeded >= n || len(errs) > 0 {
			return errors.Join(errs...)
		}
		pause(ctx, 10*time.Millisecond)
	}
	return context.Cause(ctx)
}

// awaitCleanup waits until nothing of an attack is left. First the point has to end the
// streams, which the attackers still hold. Then it closes the attackers and waits until
// their registrations, memory and goroutines are gone. It returns what is left after
// cleanupTime. The honest peers must have been stopped.
func awaitCleanup(ctx context.Context, b *testbed, hostile *attackers, before usage) (leftover string) {
	deadline := time.Now().Add(cleanupTime)
	for b.streams() > 0 {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Sprintf("%d streams", b.streams())
		}
		pause(ctx, 100*time.Millisecond)
	}
	_ = hostile.close()
	if err := b.removeHonest(ctx); err != nil {
		return err.Error()
	}
	for {
		now := usageNow()
		counts, err := b.storage.Counts(ctx)
		if err == nil && counts.Registrations == 0 && !now.exceeds(before) {
			return ""
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Sprintf("%d registrations, %s more than before", counts.Registrations, now.difference(before))
		}
		pause(ctx, 100*time.Millisecond)
	}
}
