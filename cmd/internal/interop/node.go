package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// node is a process of Node that carries out commands. It is used by one goroutine.
type node struct {
	process *process
	in      io.WriteCloser
	pipe    *os.File
	out     *bufio.Reader // of pipe
}

// startNode starts a program in the directory of the clients.
func startNode(ctx context.Context, dir, program, log string) (*node, error) {
	binary, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: .ci/deps-node installs it", err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read the output of Node: %w", err)
	}
	defer func() { _ = stdout.Close() }() // the process has a descriptor of its own
	n := &node{pipe: out, out: bufio.NewReader(out)}
	n.process, err = startProcess(ctx, log, func(cmd *exec.Cmd) (err error) {
		cmd.Dir, cmd.Stdout = dir, stdout
		n.in, err = cmd.StdinPipe()
		return err
	}, binary, program)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return n, nil
}

// call sends a line and reads one.
func (n *node) call(ctx context.Context, command []byte) ([]byte, error) {
	deadline, _ := ctx.Deadline() // zero if there is none, which SetReadDeadline takes for that
	if err := n.pipe.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("read from Node: %w", err)
	}
	if _, err := n.in.Write(append(command, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("write to Node: %w", err), n.process.hasEnded())
	}
	line, err := n.out.ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read from Node: %w", err), n.process.hasEnded())
	}
	return line, nil
}

func (n *node) close() {
	n.process.stop()
	_ = n.pipe.Close() // nothing reads it any more
}
