package main

// CPU profiles of requests, for "go tool pprof".

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"
)

// profiles names the files, and the experiments and sides that are profiled into them. A
// profile contains the clients as well. The point's part is its stream handler.
var profiles = []struct{ file, experiment, side string }{
	{"register.pprof", "REGISTER again, TCP, fresh", "memory"},
	{"discover.pprof", "DISCOVER 50 of 100,000, TCP, fresh", "memory"},
	{"search.pprof", "DISCOVER 50 of 1,000, TCP, fresh", "library"},
}

func profileRequests(ctx context.Context, dir string) error {
	registered, err := newIdentities(100_000)
	if err != nil {
		return err
	}
	b, err := newTestbed(ctx, "TCP", registered)
	if err != nil {
		return err
	}
	defer b.close()
	es, err := newExperiments(b)
	if err != nil {
		return err
	}
	for _, p := range profiles {
		for _, e := range es {
			if e.name() != p.experiment {
				continue
			}
			if err := profileSide(ctx, e, p.side, filepath.Join(dir, p.file)); err != nil {
				return fmt.Errorf("%s: %w", p.experiment, err)
			}
		}
	}
	return nil
}

// profileSide profiles a side of an experiment, after a round to warm up.
func profileSide(ctx context.Context, e *experiment, name, file string) (err error) {
	if _, err := measureRound(ctx, e, 0, turnLength); err != nil {
		return err
	}
	i := slices.IndexFunc(e.sides, func(s side) bool { return s.name == name })
	r, err := startRunner(ctx, e.sides[i], 1)
	if err != nil {
		return err
	}
	defer r.end()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return r.turn(10 * time.Second)
}
