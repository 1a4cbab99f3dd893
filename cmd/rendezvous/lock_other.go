//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"errors"
	"os"
)

// lockFile is not supported here.
func lockFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
