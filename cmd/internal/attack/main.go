// Command attack does to a rendezvous point what hostile peers would, over TCP and
// QUIC on loopback, and tells what honest peers notice of it:
//
//	go run ./cmd/internal/attack              # each attack by itself, as a table
//	go run ./cmd/internal/attack -soak 10m    # all of them in turn, among honest peers that come and go
//
// It exits with 1 where the point misses a bar: an honest request that fails, a
// 99th percentile of 250 ms, 128 MiB of heap, anything that is left a minute
// after, log lines that hostile requests caused. Point, honest peers and attackers
// share a process and its processors, so what honest peers notice includes what
// the attackers' own side costs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	lasting := flag.Duration("time", 10*time.Second, "how long each attack lasts")
	soak := flag.Duration("soak", 0, "do all attacks in turn for so long, twice at least, and look for growth")
	only := flag.String("only", "", "do only the attacks that this regular expression matches")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)

	c := campaign{scale: full, lasting: *lasting, chosen: chosen, out: os.Stdout, logs: countLogs()}
	if *soak > 0 {
		err = c.soak(ctx, *soak)
	} else {
		err = c.run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}
