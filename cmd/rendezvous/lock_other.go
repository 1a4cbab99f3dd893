//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import "os"

// lockFile is not supported here.
func lockFile(string) (locked *os.File, elsewhere bool) { return nil, false }
