// Command attack attacks a rendezvous point over TCP and QUIC on loopback, and measures
// how that affects honest peers:
//
//	go run ./cmd/internal/attack              # each attack by itself; prints a table
//	go run ./cmd/internal/attack -soak 10m    # all attacks in turn, while honest peers come and go
//
// With -storage redis the point keeps its registrations on a redis-server, which the command
// starts from PATH.
//
// It exits with 1 if the point misses a limit: if an honest request fails, if the 99th
// percentile of honest requests is above 250 ms, if the heap or the stacks grow by more than
// 128 MiB, if attackers are sent more bytes than their budget, if anything of an attack is
// left a minute later, or if hostile requests fill the log. The point, the honest peers and
// the attackers share a process and its CPUs, so honest requests also wait for the
// attackers' own work.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	duration := flag.Duration("time", 10*time.Second, "duration of each attack")
	soak := flag.Duration("soak", 0, "run all attacks in turn for this time, at least twice, and look for growth")
	storage := flag.String("storage", "memory", "where the point keeps its registrations: memory or redis")
	only := flag.String("only", "", "run only the attacks whose name matches this regular expression")
	flag.Parse()
	selected, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(2)
	}
	if *storage != "memory" && *storage != "redis" {
		fmt.Fprintf(os.Stderr, "attack: storage %q: it must be memory or redis\n", *storage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)

	c := campaign{scale: fullScale, duration: *duration, selected: selected, onRedis: *storage == "redis", out: os.Stdout, logs: countLogs()}
	if *soak > 0 {
		err = runSoak(ctx, &c, *soak)
	} else {
		err = c.run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}
