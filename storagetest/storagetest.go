package storagetest

// Running the checks.

import (
	"testing"
	"testing/synctest"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Run tests the storages that open returns. Each sentence of the contract is a subtest with
// a new storage.
func Run(t *testing.T, open func(t *testing.T) rendezvous.Storage, opts ...Option) {
	t.Helper()
	cfg := newConfig(opts)
	for _, c := range checks {
		if !c.applies(cfg) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if cfg.realTime {
				t.Parallel()
				run(t, t, c, cfg, open)
				return
			}
			synctest.Test(t, func(t *testing.T) { run(t, t, c, cfg, open) })
		})
	}
}

// run runs one check on a new storage. Failures are reported to r. It is t, except in the
// tests of this package.
func run(t *testing.T, r reporter, c check, cfg config, open func(t *testing.T) rendezvous.Storage) {
	t.Helper()
	if !cfg.realTime {
		// The goroutines of some databases end a while after Close, and a bubble
		// waits for all of them. Cleanups run in reverse order, so this is the last
		// one. The minute is virtual.
		t.Cleanup(func() { time.Sleep(time.Minute) })
	}
	s := &suite{reporter: r, config: cfg, t: t, Storage: open(t)}
	defer func() {
		if err := s.Close(); err != nil {
			r.Errorf("Close: %v", err)
		}
	}()
	if _, pages := s.Storage.(rendezvous.Pager); c.pager && !pages && !cfg.mustPage {
		t.Skipf("%T is no Pager", s.Storage)
	}
	c.run(s)
}
