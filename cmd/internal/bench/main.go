// Command bench measures what a rendezvous point costs on top of libp2p. It compares
// each kind of request with an echo: a handler that answers with the same bytes, in the
// same process, over the same kind of stream. It also measures the memory of
// registrations, connections and streams.
//
// docs/performance.md explains the numbers and how to repeat them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"
)

type options struct {
	rounds      int
	roundLength time.Duration
	only        *regexp.Regexp // nil: all experiments
	quick       bool
	json        string // file
	from        string // file
	docs        string // directory
	profile     string // directory
	crowd       string // address of a point
	keepers     string // address of a point
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parseFlags()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	switch {
	case o.crowd != "":
		return runCrowd(ctx, o.crowd)
	case o.keepers != "":
		return runKeepers(ctx, o.keepers, os.Stdin, os.Stdout)
	case o.profile != "":
		return profileRequests(ctx, o.profile)
	}
	var r *report
	if o.from != "" {
		r, err = readReport(o.from)
	} else {
		r, err = measureAll(ctx, o)
	}
	if err != nil {
		return err
	}
	writeTables(os.Stdout, r)
	if o.json != "" {
		if err := r.save(o.json); err != nil {
			return err
		}
	}
	if o.docs != "" {
		return writeDocs(o.docs, r)
	}
	return nil
}

func parseFlags() (options, error) {
	var o options
	var only string
	flag.IntVar(&o.rounds, "rounds", 7, "number of rounds of each experiment; the result is their median")
	flag.DurationVar(&o.roundLength, "round", 250*time.Millisecond, "length of a round, for each side")
	flag.StringVar(&only, "only", "", "run only the experiments whose name matches this `regexp`, and measure no memory")
	flag.BoolVar(&o.quick, "quick", false, "TCP only, shorter rounds")
	flag.StringVar(&o.json, "json", "", "write the results to this `file`")
	flag.StringVar(&o.from, "from", "", "read the results from this `file` instead of measuring")
	flag.StringVar(&o.docs, "docs", "", "write the figures into performance.md and operating.md in this `directory`, and the plots")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles to this `directory` instead of measuring")
	flag.StringVar(&o.crowd, "crowd", "", "run the peers that connect to the point at this `address` (the program starts itself with this flag)")
	flag.StringVar(&o.keepers, "keepers", "", "run the clients that stay registered at the point at this `address` (the program starts itself with this flag)")
	flag.Parse()
	var err error
	if only != "" {
		o.only, err = regexp.Compile(only)
	}
	if o.quick {
		o.rounds, o.roundLength = 5, 100*time.Millisecond
	}
	return o, err
}

func (o options) transports() []string {
	if o.quick {
		return []string{"TCP"}
	}
	return []string{"TCP", "QUIC"}
}

func measureAll(ctx context.Context, o options) (*report, error) {
	r := &report{
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Clients: numClients, Rounds: o.rounds, RoundSeconds: o.roundLength.Seconds(),
	}
	if o.only == nil { // first, while the heap is small and nothing else runs
		sizes := []int{10_000, 100_000, 1_000_000}
		if o.quick {
			sizes = sizes[:2]
		}
		var err error
		if r.Heap, err = measureHeap(ctx, sizes); err != nil {
			return nil, err
		}
		for _, t := range o.transports() {
			c, err := measureCrowd(ctx, t)
			if err != nil {
				return nil, err
			}
			r.Idle = append(r.Idle, c...)
		}
	}
	registered, err := newIdentities(100_000)
	if err != nil {
		return nil, err
	}
	for _, t := range o.transports() {
		if err := measureTransport(ctx, o, t, registered, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// measureTransport runs all experiments over one transport and adds their results to r. Its
// points start with the given peers registered.
func measureTransport(ctx context.Context, o options, transport string, registered []identity, r *report) error {
	b, err := newTestbed(ctx, transport, registered)
	if err != nil {
		return err
	}
	defer b.close()
	es, err := newExperiments(b)
	if err != nil {
		return err
	}
	// Before an experiment empties the points. Over TCP only, as it takes most of a minute.
	if name := "kept registered, " + transport; transport == "TCP" && o.wants(name) {
		fmt.Fprintln(os.Stderr, name)
		k, err := measureKept(ctx, b, 2*time.Duration(o.rounds)*o.roundLength)
		if err == nil {
			k.Point, err = measurePointShare(ctx, b.memory, 2*time.Duration(o.rounds)*o.roundLength)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.Kept = append(r.Kept, k)
	}
	for _, e := range es {
		if !o.wants(e.name()) {
			continue
		}
		fmt.Fprintln(os.Stderr, e.name())
		sides, err := measureExperiment(ctx, e, o.rounds, o.roundLength)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name(), err)
		}
		r.Requests = append(r.Requests, sides...)
	}
	return nil
}

// wants reports whether to run an experiment.
func (o options) wants(name string) bool { return o.only == nil || o.only.MatchString(name) }
