// Command bench measures what a rendezvous point costs on top of libp2p: every
// request against an echo of the same bytes, in the same process, over the same
// kind of stream. docs/performance.md says what the numbers mean and how to
// repeat them.
//
//	main.go      flags, and the order of things
//	bed.go       the hosts: two points and 16 clients, over one transport
//	echo.go      the floor: the plainest handler that gives the same bytes
//	raw.go       a client that reads the answer's frame and no more
//	experiment.go which requests are compared
//	measure.go   a round, and the median of many
//	memory.go    heap per registration
//	crowd.go     memory and goroutines per connection and per stream
//	profile.go   where the time of a request goes
//	report.go    tables, JSON, docs
//	svg.go       plots
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
	rounds  int
	round   time.Duration
	only    *regexp.Regexp
	quick   bool
	json    string
	from    string
	docs    string
	profile string
	crowd   string
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
	case o.profile != "":
		return profile(ctx, o.profile)
	}
	measure := func() (*report, error) { return measureAll(ctx, o) }
	if o.from != "" {
		measure = func() (*report, error) { return readReport(o.from) }
	}
	r, err := measure()
	if err != nil {
		return err
	}
	r.writeTables(os.Stdout)
	return r.save(o.json, o.docs)
}

func parseFlags() (options, error) {
	var o options
	var only string
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of each measurement, of which the median counts")
	flag.DurationVar(&o.round, "round", 250*time.Millisecond, "length of a round")
	flag.StringVar(&only, "only", "", "measure only the experiments whose name matches this `regexp`, and no memory")
	flag.BoolVar(&o.quick, "quick", false, "measure less, in under a minute: TCP only, shorter rounds")
	flag.StringVar(&o.json, "json", "", "write the results to this `file`")
	flag.StringVar(&o.from, "from", "", "show the results in this `file` instead of measuring")
	flag.StringVar(&o.docs, "docs", "", "put the tables into performance.md in this `directory`, and plots beside it")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles to this `directory` instead of measuring")
	flag.StringVar(&o.crowd, "crowd", "", "be the peers that connect to the point at this `address` (used by the program itself)")
	flag.Parse()
	var err error
	if only != "" {
		o.only, err = regexp.Compile(only)
	}
	if o.quick {
		o.rounds, o.round = 5, 100*time.Millisecond
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
		Clients: clients, Rounds: o.rounds, RoundSeconds: o.round.Seconds(),
	}
	if o.only == nil { // while the heap is small and nothing else runs
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
			r.Crowd = append(r.Crowd, c...)
		}
	}
	records, err := newIdentities(100_000)
	if err != nil {
		return nil, err
	}
	for _, t := range o.transports() {
		results, err := measureTransport(ctx, o, t, records)
		if err != nil {
			return nil, err
		}
		r.Requests = append(r.Requests, results...)
	}
	return r, nil
}

func measureTransport(ctx context.Context, o options, transport string, records []identity) (results []result, err error) {
	b, err := newBed(ctx, transport, records)
	if err != nil {
		return nil, err
	}
	defer b.close()
	es, err := experiments(b)
	if err != nil {
		return nil, err
	}
	for _, e := range es {
		if o.only != nil && !o.only.MatchString(e.name()) {
			continue
		}
		fmt.Fprintln(os.Stderr, e.name())
		compared, err := e.run(ctx, o.rounds, o.round)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name(), err)
		}
		results = append(results, compared...)
	}
	return results, nil
}
