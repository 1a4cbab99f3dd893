package main

// rendezvous bench: flags and what is printed. load.go makes the load.

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

const benchDescription = `Loads a point with peers that register and discover in a namespace of their own,
at a steady rate, and says how fast it answered. Ask for more than a point can do
and it shows what it can: whatever a request waits for its turn counts as its time.

   rendezvous bench --point /ip4/127.0.0.1/tcp/4040/p2p/12D3KooW… --peers 100 --requests 2000

Use it on points of your own. A point limits what one peer may ask, so a rate needs
enough peers; --requests / --peers is what each of them asks per second.`

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "load points and measure how they answer",
		Description: benchDescription,
		Flags: []cli.Flag{
			pointFlag(),
			&cli.IntFlag{Name: "peers", Usage: "be `N` peers", Value: 100},
			&cli.IntFlag{Name: "requests", Usage: "make `N` requests per second, of all peers together", Value: 500},
			&cli.DurationFlag{Name: "duration", Usage: "measure for `DURATION`", Value: 10 * time.Second},
			&cli.FloatFlag{Name: "discover", Usage: "the `SHARE` of requests that discover; the others register", Value: 0.5},
			&cli.IntFlag{Name: "limit", Usage: "discover `N` peers at most", Value: 50},
			jsonFlag(),
		},
		Action: bench,
	}
}

func bench(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	plan, err := newLoadPlan(cmd)
	if err != nil {
		return err
	}
	progress := newProgress(cmd.Root().ErrWriter)
	l, err := startLoad(ctx, plan, progress)
	if err != nil {
		return err
	}
	defer l.close()
	l.run(ctx, progress)
	progress.clear()
	if cmd.Bool("json") {
		err = printJSON(cmd.Root().Writer, l.results())
	} else {
		err = printTable(cmd.Root().Writer, resultRows(l.results()))
	}
	if err != nil {
		return err
	}
	return l.failure()
}

func newLoadPlan(cmd *cli.Command) (loadPlan, error) {
	plan := loadPlan{
		peers:    cmd.Int("peers"),
		rate:     cmd.Int("requests"),
		duration: cmd.Duration("duration"),
		discover: cmd.Float("discover"),
		limit:    cmd.Int("limit"),
	}
	var err error
	switch {
	case plan.peers < 1 || plan.peers > 10_000:
		return plan, usagef("--peers is %d, 1 to 10000 are possible", plan.peers)
	case plan.rate < 1 || plan.rate > 1_000_000:
		return plan, usagef("--requests is %d, 1 to 1000000 are possible", plan.rate)
	case plan.duration <= 0 || plan.duration > time.Hour:
		return plan, usagef("--duration is %s, up to an hour is possible", plan.duration)
	case plan.discover < 0 || plan.discover > 1:
		return plan, usagef("--discover is %v, 0 to 1 are possible", plan.discover)
	}
	plan.points, err = parsePoints(cmd)
	return plan, err
}

func resultRows(results []result) [][]string {
	rows := [][]string{{"REQUEST", "SENT", "OK", "REFUSED", "FAILED", "OK/S", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, r := range results {
		row := []string{r.Request, fmt.Sprint(r.Sent), fmt.Sprint(r.OK), fmt.Sprint(r.Refused), fmt.Sprint(r.Failed), fmt.Sprintf("%.1f", r.PerSecond)}
		for _, ms := range []float64{r.P50, r.P90, r.P99, r.P999, r.Max} {
			row = append(row, brief(time.Duration(ms*float64(time.Millisecond))))
		}
		rows = append(rows, row)
	}
	return rows
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ w io.Writer }

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{w}
		}
	}
	return &progress{io.Discard}
}

// show draws the bar, done of all.
func (p *progress) show(what string, done, all int) {
	const width = 40
	full := min(width, done*width/max(all, 1))
	fmt.Fprintf(p.w, "\r%-12s [%s%s] %d/%d", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, all)
}

func (p *progress) clear() { fmt.Fprint(p.w, "\r\x1b[K") }
