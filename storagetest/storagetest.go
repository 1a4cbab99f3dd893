// Package storagetest is the contract of a [rendezvous.Storage] as a test suite:
//
//	func TestStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) rendezvous.Storage {
//			s, err := mystorage.Open(t.TempDir())
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// Each test opens a storage of its own, which must be empty, and closes it.
// Whatever else opening it takes, such as a database, is for t.Cleanup to close.
//
// Time is virtual: each test runs in a [testing/synctest] bubble, and so takes
// milliseconds and hits deadlines to the nanosecond. A storage that talks to
// another process cannot run there; see [RealTime]. The uniformity tests fail a
// right storage about once in a million runs.
package storagetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Option says what a storage is allowed to be.
type Option func(*config)

type config struct {
	realTime          bool
	resolution        time.Duration
	reopen            func(*testing.T, rendezvous.Storage) rendezvous.Storage
	approximateLimits bool
	approximateAll    bool
}

// RealTime runs the suite by the real clock, with registrations of a second or
// two, all tests at the same time. It takes some ten seconds.
func RealTime() Option { return func(c *config) { c.realTime = true } }

// Resolution says that the storage rounds deadlines down to multiples of d. The
// default is a nanosecond.
func Resolution(d time.Duration) Option { return func(c *config) { c.resolution = d } }

// Reopen says that the storage outlives its process, and has that tested. Given
// an open storage, reopen closes it and opens another one over the same data.
func Reopen(reopen func(*testing.T, rendezvous.Storage) rendezvous.Storage) Option {
	return func(c *config) { c.reopen = reopen }
}

// ApproximateLimits leaves out that limits hold to the last registration when
// many are added at the same moment.
func ApproximateLimits() Option { return func(c *config) { c.approximateLimits = true } }

// ApproximateAll leaves out that a sample of all namespaces is uniform.
func ApproximateAll() Option { return func(c *config) { c.approximateAll = true } }

// Run tests the storages that open returns, each test in a subtest with its name.
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

func newConfig(opts []Option) config {
	cfg := config{resolution: time.Nanosecond}
	for _, o := range opts {
		o(&cfg)
	}
	return cfg
}

// run runs one check on a new storage. What fails is told to r, which is t
// itself but where the suite is tested.
func run(t *testing.T, r reporter, c check, cfg config, open func(t *testing.T) rendezvous.Storage) {
	t.Helper()
	if !cfg.realTime {
		// Some databases' goroutines end a while after Close. Cleanups run last
		// in, first out, so this one is the last, in a time that costs nothing.
		t.Cleanup(func() { time.Sleep(time.Minute) })
	}
	s := &suite{reporter: r, config: cfg, t: t, Storage: open(t)}
	defer func() {
		if err := s.Close(); err != nil {
			r.Errorf("Close: %v", err)
		}
	}()
	c.run(s)
}

// reporter is the part of [testing.TB] that a check needs.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// check is a sentence of the contract.
type check struct {
	name string
	run  func(*suite)
	// unless, where set, tells for which storages the sentence does not hold.
	unless func(config) bool
}

func (c check) applies(cfg config) bool { return c.unless == nil || !c.unless(cfg) }

func notDurable(c config) bool        { return c.reopen == nil }
func approximateLimits(c config) bool { return c.approximateLimits }
func approximateAll(c config) bool    { return c.approximateAll }

var checks = []check{
	{name: "an empty storage has nothing", run: empty},
	{name: "a record comes back as it went in", run: roundTrip},
	{name: "adding again replaces", run: replaces},
	{name: "a record is live before its deadline and gone at it", run: deadline},
	{name: "a refresh moves the deadline, either way", run: refreshMovesDeadline},
	{name: "a record that has ended already replaces and is gone", run: endedAlready},
	{name: "namespaces and peers are any bytes", run: anyBytes},
	{name: "a sample has as many as asked for, or all", run: sampleSize},
	{name: "a sample is uniform", run: uniform},
	{name: "a sample is uniform in pairs", run: uniformPairs},
	{name: "a sample is uniform in its first record", run: uniformFirst},
	{name: "a sample is uniform after churn", run: uniformAfterChurn},
	{name: "a sample is uniform over all namespaces", run: uniformAll, unless: approximateAll},
	{name: "a sample has none that has ended among many", run: noneEnded},
	{name: "a peer has a limit", run: peerLimit},
	{name: "the storage has a limit", run: totalLimit},
	{name: "a refresh at the limit is not refused", run: refreshAtLimit},
	{name: "what has ended counts against no limit", run: endedCountsNot},
	{name: "what has ended is not refreshed but new", run: endedIsNew},
	{name: "no limit is zero", run: noLimit},
	{name: "limits hold when many add at once", run: limitsAtOnce, unless: approximateLimits},
	{name: "all methods run at the same time", run: concurrent},
	{name: "the caller's envelope is copied", run: callersSlice},
	{name: "a sample's envelopes stay as they are", run: samplesSlice},
	{name: "a context that has ended is honoured", run: endedContext},
	{name: "counts are of what is held", run: counts},
	{name: "what has ended takes no memory", run: takesNoMemory},
	{name: "closing twice is closing once", run: closeTwice},
	{name: "a closed storage says so", run: closedSaysSo},
	{name: "closing waits for nobody's mistake", run: closeWhileBusy},
	{name: "what was acknowledged outlives the process", run: outlives, unless: notDurable},
}
