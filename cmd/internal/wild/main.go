//go:build linux

// Command wild measures on real networks whether a live peer is found. It makes networks
// of namespaces with NATs, runs rendezvous points and gossipsub nodes in them as
// processes, breaks something, and measures for how long peers were missing:
//
//	go build -o bin/rendezvous ./cmd/rendezvous
//	go build -o bin/wild ./cmd/internal/wild
//	bin/wild                      # all faults, with long times before and after each
//	bin/wild -short -run 'nat|5s' # some faults, with short times
//
// It prints a row for each fault and each transport of the affected peers. The columns
// are the longest times for which one of these peers was not registered, not found by
// FindPeers, not known to Watch, and without a mesh that was possible. The last columns are
// the longest times without a mesh, and without messages; they have no bar. If a peer can
// reach a point all the time, its times count from the beginning of the fault, and the bar
// is 3 s, or 0.5 s if nothing should happen to it. Otherwise they count from the moment at
// which everything else is back, and the bar is 15 s. After these 15 s, a peer may be missing
// for one second in all, and missed by one search. The exit status is 1 if a bar is missed.
//
// The program needs ip, nft, conntrack and a kernel with network namespaces. It works in
// namespaces of its own, which vanish when it ends.
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

// execute runs the program with command line args and returns its exit status.
func execute(ctx context.Context, args []string) (int, error) {
	if len(args) == 2 {
		if program, ok := programs[args[0]]; ok {
			err := program(ctx, args[1], os.Stdout)
			return 0, err
		}
	}
	flags := flag.NewFlagSet("wild", flag.ContinueOnError)
	chosen := flags.String("run", "", "run only the faults whose names match this regular expression")
	brief := flags.Bool("short", false, "use shorter times before and after each fault")
	parallel := flags.Int("parallel", 4, "run this many faults at the same time, each on a network of its own")
	command := flags.String("rendezvous", "bin/rendezvous", "run this rendezvous command as the points")
	logs := flags.String("logs", "bin/wild-logs", "write the logs of the programs into this directory")
	verbose := flags.Bool("v", false, "print the details of all times, not only of those over their bar")
	lines := flags.Bool("lines", false, "write everything that the programs print into the directory of the logs")
	list := flags.Bool("list", false, "print the names of the faults and do nothing")
	if err := flags.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // flags has printed it
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

// programs run on the machines of a network. Their configuration is JSON.
var programs = map[string]func(ctx context.Context, config string, w io.Writer) error{
	"peer":    configured(runPeer),
	"observe": configured(runObserver),
	"hostile": configured(runHostile),
	"delay":   configured(runDelay),
}

func configured[C any](program func(ctx context.Context, c C, w io.Writer) error) func(context.Context, string, io.Writer) error {
	return func(ctx context.Context, config string, w io.Writer) error {
		if !insideSandbox() {
			return errors.New("this program runs only in the sandbox, started by wild")
		}
		var c C
		if err := json.Unmarshal([]byte(config), &c); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return program(ctx, c, w)
	}
}
