package main

// Where the time of a request goes, for `go tool pprof`.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profiled are the experiments to profile, by the name of the file. The clients
// are in the profile too; the point is all that is below its term's handle.
var profiled = []struct{ file, experiment string }{
	{"register.pprof", "REGISTER again, TCP, fresh"},
	{"discover.pprof", "DISCOVER 50 of 100,000, TCP, fresh"},
}

func profile(ctx context.Context, dir string) error {
	others, err := newIdentities(100_000)
	if err != nil {
		return err
	}
	b, err := newBed(ctx, "TCP", others)
	if err != nil {
		return err
	}
	defer b.close()
	es, err := experiments(b)
	if err != nil {
		return err
	}
	for _, p := range profiled {
		for _, e := range es {
			if e.name() != p.experiment {
				continue
			}
			if err := e.profile(ctx, filepath.Join(dir, p.file)); err != nil {
				return fmt.Errorf("%s: %w", p.experiment, err)
			}
		}
	}
	return nil
}

// profile profiles the point in memory, once warm.
func (e experiment) profile(ctx context.Context, file string) (err error) {
	if _, err := e.round(ctx, 0, slice); err != nil {
		return err
	}
	point, err := e.sides[1].start(ctx, 1)
	if err != nil {
		return err
	}
	defer point.end()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return point.take(10 * time.Second)
}
