package main

// The command bench: flags and output of the load test in load.go.

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"
)

const benchDescription = `Simulates peers that register and discover at a constant rate, in a namespace that
nobody else uses, and reports how fast the point answered.

   rendezvous bench --point /ip4/127.0.0.1/tcp/4040/p2p/12D3KooW… --peers 100 --requests 2000

The latency of a request includes the time that it waits to be sent. To find the
capacity of a point, raise --requests until the latencies grow.

Use it on your own points only. A point limits the requests of each peer, so a high
rate needs many peers: each one sends --requests / --peers per second.`

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "put load on points and measure how they answer",
		Description: benchDescription,
		Flags: []cli.Flag{
			pointFlag(),
			protocolFlag(),
			pskFlag(""),
			&cli.IntFlag{Name: "peers", Usage: "simulate `N` peers", Value: 100},
			&cli.IntFlag{Name: "requests", Usage: "send `N` requests per second, from all peers together", Value: 500},
			&cli.DurationFlag{Name: "duration", Usage: "measure for `DURATION`", Value: 10 * time.Second},
			&cli.FloatFlag{Name: "discover", Usage: "make this `SHARE` of the requests DISCOVER, from 0 to 1; the others are REGISTER", Value: 0.5},
			&cli.IntFlag{Name: "limit", Usage: "discover at most `N` peers", Value: 50},
			jsonFlag(),
		},
		Action: endsByItself(bench),
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
	bar := newProgressBar(cmd.Root().ErrWriter)
	l, err := startLoad(ctx, plan, bar)
	if err != nil {
		return err
	}
	defer l.close(ctx)
	l.run(ctx, bar)
	bar.clear()
	if cmd.Bool("json") {
		err = printJSON(cmd.Root().Writer, l.results())
	} else {
		err = printTable(cmd.Root().Writer, resultRows(l.results()))
	}
	if err != nil {
		return err
	}
	return l.err()
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
		return plan, usagef("--peers is %d; the range is 1 to 10000", plan.peers)
	case plan.rate < 1 || plan.rate > 1_000_000:
		return plan, usagef("--requests is %d; the range is 1 to 1000000", plan.rate)
	case plan.duration <= 0 || plan.duration > time.Hour:
		return plan, usagef("--duration is %s; it must be positive and at most 1h", plan.duration)
	case plan.discover < 0 || plan.discover > 1:
		return plan, usagef("--discover is %v; the range is 0 to 1", plan.discover)
	}
	plan.target, err = parseTarget(cmd)
	return plan, err
}

func resultRows(results []result) [][]string {
	rows := [][]string{{"REQUEST", "SENT", "OK", "REFUSED", "FAILED", "OK/S", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, r := range results {
		row := []string{r.Request, fmt.Sprint(r.Sent), fmt.Sprint(r.OK), fmt.Sprint(r.Refused), fmt.Sprint(r.Failed), fmt.Sprintf("%.1f", r.PerSecond)}
		for _, ms := range []float64{r.P50, r.P90, r.P99, r.P999, r.Max} {
			row = append(row, shortDuration(time.Duration(ms*float64(time.Millisecond))))
		}
		rows = append(rows, row)
	}
	return rows
}
