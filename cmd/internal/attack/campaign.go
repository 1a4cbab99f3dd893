package main

// Doing the attacks, one after the other, and judging what they did.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"
)

// The bars.
const (
	slowest   = 250 * time.Millisecond // 99th percentile of honest requests
	mostHeap  = 128 << 20              // bytes over what there was before
	cleanTime = time.Minute            // until nothing is left
	// What counts as nothing: libp2p itself remembers peers that have left, and its
	// pools are as large as they had to be.
	slackHeap       = 24 << 20
	slackGoroutines = 40
	mostLines       = 10 // in the log, for each attack
)

// campaign is what to do, and where to report.
type campaign struct {
	scale   scale
	lasting time.Duration // each attack
	chosen  *regexp.Regexp
	out     io.Writer
	logs    *logCounter
}

// result is what one attack did.
type result struct {
	name   string
	sent   int64
	honest *experience
	heap   int64         // bytes over what there was before, at most
	clean  time.Duration // from the attack's end until nothing was left; negative: something is
	left   string        // what
	lines  int64
	line   string // the last of them
}

// verdict is every bar that was missed.
func (r result) verdict() error {
	var missed []error
	miss := func(format string, args ...any) {
		missed = append(missed, fmt.Errorf("%s: "+format, append([]any{r.name}, args...)...))
	}
	if len(r.honest.failed) > 0 {
		miss("%d honest requests failed, the first with: %w", len(r.honest.failed), r.honest.failed[0])
	}
	if len(r.honest.took) == 0 {
		miss("no honest request was answered")
	}
	if p99 := r.honest.percentile(99); p99 > slowest {
		miss("the 99th percentile of honest requests is %v", p99)
	}
	if r.heap > mostHeap {
		miss("the heap grew by %d MiB", r.heap>>20)
	}
	if r.clean < 0 {
		miss("after %v there are still %s", cleanTime, r.left)
	}
	if r.lines > mostLines {
		miss("%d log lines above debug, the last of them: %s", r.lines, r.line)
	}
	return errors.Join(missed...)
}

// run does each attack by itself, and prints a table.
func (c *campaign) run(ctx context.Context) error {
	b, err := newBed()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "attack\tsent\thonest\tfailed\tp50\tp99\theap MiB\tclean after\tlog lines\t\t")
	var missed []error
	for _, a := range append([]attack{{"none", none, false, idle}}, attacks...) {
		if ctx.Err() != nil || !c.chosen.MatchString(a.name) {
			continue
		}
		r, err := c.one(ctx, b, a)
		if err != nil {
			missed = append(missed, fmt.Errorf("%s: %w", a.name, err))
			continue
		}
		missed = append(missed, r.verdict())
		c.row(table, r)
	}
	return errors.Join(append(missed, context.Cause(ctx), b.close())...)
}

func (c *campaign) row(table *tabwriter.Writer, r result) {
	said, clean := "ok", r.clean.Round(time.Second).String()
	if r.line != "" {
		said += " (" + r.line + ")"
	}
	if r.verdict() != nil {
		said = "MISSED"
	}
	if r.clean < 0 {
		clean = "never"
	}
	fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%v\t%v\t%d\t%s\t%d\t%s\t\n", r.name, r.sent, r.honest.requests(), len(r.honest.failed),
		r.honest.percentile(50).Round(100*time.Microsecond), r.honest.percentile(99).Round(100*time.Microsecond), r.heap>>20, clean, r.lines, said)
	_ = table.Flush()
}

func idle(ctx context.Context, _ *attackers) { <-ctx.Done() }

// one does one attack among honest peers.
func (c *campaign) one(ctx context.Context, b *bed, a attack) (result, error) {
	r := result{name: a.name, honest: new(experience)}
	before := take()
	hostile := &attackers{bed: b, honest: r.honest, scale: c.scale}
	defer func() { _ = hostile.dismiss() }()
	if err := hostile.recruit(ctx, a.peers(c.scale), a.crowded); err != nil {
		return r, err
	}
	stop := b.honest(ctx, c.scale.honest, r.honest)
	if err := warmUp(ctx, r.honest, 2*c.scale.honest); err != nil {
		return r, errors.Join(err, stop())
	}
	lines, heap := c.logs.lines.Load(), take().heap
	r.honest.forget()
	attacking, end := context.WithTimeout(ctx, c.lasting)
	defer end()
	highest := watchHeap(attacking)
	a.run(attacking, hostile)
	end()
	r.heap, r.sent = <-highest-heap, hostile.sent.Load()
	if err := stop(); err != nil {
		return r, err
	}
	begun := time.Now()
	r.left = c.settle(ctx, b, hostile, before)
	r.clean = time.Since(begun)
	if r.left != "" {
		r.clean = -1
	}
	if r.lines = c.logs.lines.Load() - lines; r.lines > 0 {
		r.line = *c.logs.last.Load()
	}
	return r, nil
}

// warmUp waits until honest peers have made n requests.
func warmUp(ctx context.Context, e *experience, n int) error {
	for ctx.Err() == nil {
		e.mu.Lock()
		took, failed := len(e.took), errors.Join(e.failed...)
		e.mu.Unlock()
		if took >= n || failed != nil {
			return failed
		}
		pause(ctx, 10*time.Millisecond)
	}
	return context.Cause(ctx)
}

// state is what a process holds.
type state struct {
	heap       int64 // bytes that live
	goroutines int
}

func take() state {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return state{int64(m.HeapAlloc), runtime.NumGoroutine()}
}

// watchHeap gives the most that lived at any time until ctx ended.
func watchHeap(ctx context.Context) <-chan int64 {
	most := make(chan int64, 1)
	go func() {
		var highest int64
		for ctx.Err() == nil {
			highest = max(highest, take().heap)
			pause(ctx, 500*time.Millisecond)
		}
		most <- highest
	}()
	return most
}

// settle waits until nothing of an attack is left: first the streams, which the
// attackers still hold, and when those have gone, memory and goroutines. It returns
// what is left after a minute.
func (c *campaign) settle(ctx context.Context, b *bed, hostile *attackers, before state) (left string) {
	deadline := time.Now().Add(cleanTime)
	for b.streams() > 0 {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Sprintf("%d streams", b.streams())
		}
		pause(ctx, 100*time.Millisecond)
	}
	_ = hostile.dismiss()
	for {
		now := take()
		held, err := b.storage.Counts(ctx)
		if err == nil && held.Registrations == 0 && now.heap-before.heap < slackHeap && now.goroutines-before.goroutines < slackGoroutines {
			return ""
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Sprintf("%d registrations, %d MiB and %d goroutines more than before", held.Registrations, (now.heap-before.heap)>>20, now.goroutines-before.goroutines)
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// soak does all attacks in turn among honest peers that come and go, in whole rounds
// until that has lasted so long, and fails where anything grows from one round to the
// next or an honest peer is answered wrongly.
func (c *campaign) soak(ctx context.Context, lasting time.Duration) error {
	b, err := newBed()
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx) // without a deadline, which honest requests would have, too
	defer cancel()
	honest := new(experience)
	var wg sync.WaitGroup
	for i := range c.scale.honest {
		wg.Go(func() { b.churn(over, i, honest) })
	}
	rounds, missed := c.rounds(over, time.Now().Add(lasting), b, honest)
	cancel()
	wg.Wait()
	r := result{name: "soak", honest: honest}
	missed = append(missed, r.verdict(), growth(rounds), b.close())
	fmt.Fprintf(c.out, "%d rounds, %d honest requests, %d failed, p50 %v, p99 %v\n",
		len(rounds), honest.requests(), len(honest.failed), honest.percentile(50), honest.percentile(99))
	return errors.Join(append(missed, context.Cause(ctx))...)
}

// churn has one honest peer after the other live for a few seconds.
func (b *bed) churn(ctx context.Context, i int, e *experience) {
	for ctx.Err() == nil {
		life, end := context.WithCancel(ctx)
		lasting := time.AfterFunc(time.Duration(5+3*i)*time.Second, end)
		if err := b.live(life, e); err != nil {
			e.note(0, err)
		}
		lasting.Stop()
		end()
	}
}

// rounds does all attacks again and again until a time, twice at least so that growth
// shows, and takes what the process holds after each round.
func (c *campaign) rounds(ctx context.Context, until time.Time, b *bed, honest *experience) (after []state, missed []error) {
	for len(after) < 2 || time.Now().Before(until) {
		for _, a := range attacks {
			if !c.chosen.MatchString(a.name) || ctx.Err() != nil {
				continue
			}
			hostile := &attackers{bed: b, honest: honest, scale: c.scale}
			err := hostile.recruit(ctx, a.peers(c.scale), a.crowded)
			attacking, end := context.WithTimeout(ctx, c.lasting)
			if err == nil {
				a.run(attacking, hostile)
			}
			end()
			missed = append(missed, ignoreEnd(ctx, err), hostile.dismiss())
		}
		pause(ctx, 25*time.Second) // what was registered has ended then
		if ctx.Err() != nil {      // interrupted
			break
		}
		s := take()
		after = append(after, s)
		fmt.Fprintf(c.out, "round %d: %d MiB, %d goroutines, %d streams, %d honest requests, p99 %v\n",
			len(after), s.heap>>20, s.goroutines, b.streams(), honest.requests(), honest.percentile(99))
	}
	return after, missed
}

// growth compares the first round with the last.
func growth(rounds []state) error {
	if len(rounds) < 2 {
		return nil
	}
	first, last := rounds[0], rounds[len(rounds)-1]
	if last.heap-first.heap > slackHeap || last.goroutines-first.goroutines > slackGoroutines {
		return fmt.Errorf("from round 1 to %d it grew by %d MiB and %d goroutines",
			len(rounds), (last.heap-first.heap)>>20, last.goroutines-first.goroutines)
	}
	return nil
}
