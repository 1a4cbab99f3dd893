//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks a file until the returned one is closed, or this process ends. It returns nil
// if it cannot. elsewhere is whether another process has locked the file.
func lockFile(path string) (locked *os.File, elsewhere bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, false
	}
	_ = f.Close()
	return nil, errors.Is(err, syscall.EWOULDBLOCK)
}
