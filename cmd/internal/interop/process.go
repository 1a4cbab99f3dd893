package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a running program. Its stderr goes to a file.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has ended
}

// startProcess starts a program. prepare, if there is one, prepares the command first.
func startProcess(ctx context.Context, log string, prepare func(*exec.Cmd) error, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the arguments are this program's own
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	defer func() { _ = file.Close() }() // the process has a descriptor of its own
	cmd.Stderr = file
	if prepare != nil {
		if err := prepare(cmd); err != nil {
			return nil, fmt.Errorf("start %s: %w", program, err)
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended matters only to who still needs it, and its log tells
	}()
	return p, nil
}

// stop ends the process, and waits until it has ended.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

var errEnded = errors.New("it has ended")

// hasEnded returns an error with the end of the log if the process has ended.
func (p *process) hasEnded() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	const most = 1000
	text, err := os.ReadFile(p.log)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), errEnded, bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// await calls done until it succeeds, for a time, or until a process that it needs has ended.
func await(ctx context.Context, what string, atMost time.Duration, done func() error) error {
	deadline := time.Now().Add(atMost)
	for {
		err := done()
		if err == nil {
			return nil
		}
		if errors.Is(err, errEnded) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s: %w", atMost, what, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w: %w", what, context.Cause(ctx), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
