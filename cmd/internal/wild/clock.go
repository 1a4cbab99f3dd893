//go:build linux

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// instant is a time in nanoseconds on the machine's monotonic clock. All processes
// share this clock, and nobody can set it.
type instant int64

func now() instant {
	var ts unix.Timespec
	// The only possible error is that there is no such clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return instant(ts.Nano())
}

func (t instant) add(d time.Duration) instant { return t + instant(d) }

func (t instant) sub(u instant) time.Duration { return time.Duration(t - u) }
