//go:build linux

// Command wild shows on real networks that a live peer is found. It makes networks of
// namespaces, with routers that translate addresses, runs rendezvous points and gossipsub
// nodes there as processes, breaks something, and measures for how long a peer was missing:
//
//	go build -o bin/rendezvous ./cmd/rendezvous
//	go build -o bin/wild ./cmd/internal/wild
//	bin/wild                      # every fault, with long times of peace before and after
//	bin/wild -short -run 'nat|5s' # some, with short ones
//
// For each fault it prints a row per transport of the peers to which it happened. The
// columns are the longest time for which the worst of them was registered at no point, was
// not found by FindPeers, was not known to Watch, and had no mesh; and for which messages
// did not arrive, which has no bar. Where a peer can reach a point all the time these
// times count from the beginning of the fault and may be 3 s, and otherwise they count
// from when everything else is back and may be 15 s. It exits with 1 where one is longer.
//
// It needs ip, nft and conntrack, and a kernel with network namespaces. All that it makes
// is in namespaces of its own, which vanish with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code, err := execute(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wild:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// execute does what the command line says, and returns the exit status.
func execute(ctx context.Context, args []string) (int, error) {
	if len(args) == 2 {
		if program, ok := programs[args[0]]; ok {
			err := program(ctx, args[1], os.Stdout)
			return 0, err
		}
	}
	flags := flag.NewFlagSet("wild", flag.ContinueOnError)
	chosen := flags.String("run", "", "let only the faults happen whose names match this regular expression")
	brief := flags.Bool("short", false, "wait less before and after each fault")
	parallel := flags.Int("parallel", 3, "how many faults happen at the same time, each on a network of its own")
	command := flags.String("rendezvous", "bin/rendezvous", "the rendezvous command to run as point")
	logs := flags.String("logs", "bin/wild-logs", "directory for what the programs log")
	verbose := flags.Bool("v", false, "say of all times, not only of those that are too long, whom they happened to and when")
	lines := flags.Bool("lines", false, "keep all that the programs print, beside what they log")
	list := flags.Bool("list", false, "print the names of the faults and do nothing")
	if err := flags.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // it is printed
	}
	matching, err := regexp.Compile(*chosen)
	if err != nil {
		return 2, fmt.Errorf("flag -run: %w", err)
	}
	run := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !matching.MatchString(f.name) })
	switch {
	case *list:
		for _, f := range run {
			fmt.Printf("%-15s %s\n", f.name, f.title)
		}
		return 0, nil
	case len(run) == 0:
		return 2, fmt.Errorf("flag -run: no fault matches %q", *chosen)
	case flags.NArg() > 0 || *parallel < 1:
		return 2, errors.New("see -help")
	case !insideSandbox():
		return runInSandbox()
	}
	if err := enterSandbox(ctx); err != nil {
		return 1, fmt.Errorf("prepare the sandbox: %w", err)
	}
	c := campaign{faults: run, parallel: *parallel, timing: longTiming, verbose: *verbose}
	if *brief {
		c.timing = shortTiming
	}
	if c.env, err = newEnvironment(*command, *logs); err != nil {
		return 1, err
	}
	c.env.lines = *lines
	return 0, c.run(ctx, os.Stdout)
}

// programs are what runs on the machines of a network, each with its configuration as JSON.
var programs = map[string]func(ctx context.Context, config string, w io.Writer) error{
	"peer":    configured(runPeer),
	"observe": configured(runObserver),
	"hostile": configured(runHostile),
	"delay":   configured(runDelay),
}

func configured[C any](program func(ctx context.Context, c C, w io.Writer) error) func(context.Context, string, io.Writer) error {
	return func(ctx context.Context, config string, w io.Writer) error {
		if !insideSandbox() {
			return errors.New("this program runs only where no packet gets out, as wild starts it")
		}
		var c C
		if err := json.Unmarshal([]byte(config), &c); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return program(ctx, c, w)
	}
}
