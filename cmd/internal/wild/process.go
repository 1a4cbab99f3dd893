//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
)

// maxLine bounds the lines that are read. The longest are the results of searches.
const maxLine = 1 << 20

// process is a program that runs on a machine of a network.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // the file that stderr goes to
	done chan struct{} // closed when the process has ended
	err  error         // why it ended; valid after done is closed

	ending atomic.Bool // the process is to end
}

// program describes a process to start.
type program struct {
	name      string
	namespace string // network namespace; empty: the caller's
	args      []string
	log       string             // stderr is appended to this file
	lines     func([]byte) error // called with each line of stdout; nil: stdout goes to the log
	copy      string             // stdout is also appended to this file, if not empty
	ended     func(*process)     // called if the process ends and kill was not called
}

func start(p program) (*process, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }() // the process has a descriptor of its own
	args := p.args
	if p.namespace != "" {
		args = append([]string{"ip", "netns", "exec", p.namespace}, args...) // ip executes the program in its place
	}
	cmd := exec.Command(args[0], args[1:]...)                                                         //nolint:noctx,gosec // killed explicitly; the arguments are this program's own
	cmd.Env = append([]string{"GOLOG_LOG_LEVEL=error,rendezvous=debug,pubsub=warn"}, os.Environ()...) // of two the last counts
	cmd.Stdout, cmd.Stderr = log, log
	proc := &process{name: p.name, cmd: cmd, log: p.log, done: make(chan struct{})}
	read := func() error { return nil }
	if p.lines != nil {
		cmd.Stdout = nil
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", p.name, err)
		}
		read = func() error {
			from, err := p.tee(out)
			if err != nil {
				return err
			}
			defer func() { _ = from.Close() }()
			lines := bufio.NewScanner(from)
			lines.Buffer(nil, maxLine)
			for lines.Scan() {
				if err := p.lines(lines.Bytes()); err != nil {
					return err
				}
			}
			return lines.Err()
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		defer close(proc.done)
		unreadable := read()
		if unreadable != nil {
			_ = cmd.Process.Kill()
		}
		proc.err = cmd.Wait()
		if unreadable != nil {
			proc.err = unreadable
		}
		if !proc.ending.Load() {
			p.ended(proc)
		}
	}()
	return proc, nil
}

// tee returns a reader of stdout that also writes to the file copy.
func (p *program) tee(out io.ReadCloser) (io.ReadCloser, error) {
	if p.copy == "" {
		return out, nil
	}
	f, err := os.OpenFile(p.copy, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("keep the lines of %s: %w", p.name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(out, f), f}, nil
}

// ownArgs returns the command line that runs a subcommand of this program.
func ownArgs(subcommand string, config any) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", subcommand, err)
	}
	return []string{self, subcommand, string(text)}, nil
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %v to %s: %w", s, p.name, err)
	}
	return nil
}

// kill kills the process, even if it is stopped, and waits until it has ended.
func (p *process) kill() {
	p.ending.Store(true)
	_ = p.cmd.Process.Kill() // fails if the process has ended
	<-p.done
}

// lastWords returns the end of the process's log.
func (p *process) lastWords() string {
	const most = 2000

	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(b) == 0 {
		return "nothing"
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-most):]))
}
