package storagetest

// Options of Run.

import (
	"testing"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Option says how a storage differs from the strictest one.
type Option func(*config)

type config struct {
	realTime          bool
	resolution        time.Duration
	reopen            func(*testing.T, rendezvous.Storage) rendezvous.Storage
	approximateLimits bool
	approximateAll    bool
	mustPage          bool
}

func newConfig(opts []Option) config {
	cfg := config{resolution: time.Nanosecond}
	for _, o := range opts {
		o(&cfg)
	}
	return cfg
}

// RealTime runs all tests in parallel and by the real clock, with registrations that live
// for a second or two. It takes about ten seconds.
func RealTime() Option { return func(c *config) { c.realTime = true } }

// Resolution says that the storage rounds deadlines down to multiples of d. The default
// is a nanosecond.
func Resolution(d time.Duration) Option { return func(c *config) { c.resolution = d } }

// Reopen says that records survive the end of the process, and tests that. Given an open
// storage, reopen closes it and opens another one over the same data.
func Reopen(reopen func(*testing.T, rendezvous.Storage) rendezvous.Storage) Option {
	return func(c *config) { c.reopen = reopen }
}

// ApproximateLimits says that the storage may exceed its limits while many registrations
// are added at once.
func ApproximateLimits() Option { return func(c *config) { c.approximateLimits = true } }

// MustPage says that the storage must be a [rendezvous.Pager]: if it is none, the tests of
// pages fail. Without MustPage, they are skipped for such a storage.
func MustPage() Option { return func(c *config) { c.mustPage = true } }

// ApproximateAll says that a sample of all namespaces need not be uniform, and that pages
// of all namespaces may be in another order.
func ApproximateAll() Option { return func(c *config) { c.approximateAll = true } }
