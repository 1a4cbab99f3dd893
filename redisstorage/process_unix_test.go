//go:build unix

package redisstorage

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The signals that suspend a server and wake it up.
const (
	suspend = syscall.SIGSTOP
	resume  = syscall.SIGCONT
)

// cpuSeconds returns the CPU time that this process has used.
func cpuSeconds(b *testing.B) (seconds float64) {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	for _, t := range []syscall.Timeval{used.Utime, used.Stime} {
		seconds += float64(t.Sec) + float64(t.Usec)/1e6
	}
	return seconds
}
