//go:build !unix

package main

import "time"

// cpuTime returns 0: this program cannot measure CPU time on this system.
func cpuTime() time.Duration { return 0 }
