//go:build !unix

package redisstorage

import (
	"syscall"
	"testing"
)

// There are no signals that suspend a process. Sending one of these fails the test.
const (
	suspend = syscall.Signal(-1)
	resume  = syscall.Signal(-1)
)

// cpuSeconds returns 0: the CPU time is not known.
func cpuSeconds(*testing.B) float64 { return 0 }
