package main

// This program in another process, where peers run that are not to be counted.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/libp2p/go-libp2p/core/peer"
)

// child is this program in another process. It answers each line with a line, and ends when its
// input does.
type child struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// startChild starts this program with a flag whose value is the point's address.
func startChild(ctx context.Context, flag string, p *point) (*child, error) {
	info := p.addrs()
	addrs, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, self, flag, addrs[0].String()) //nolint:gosec // it is this program
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{process: process, in: in, out: bufio.NewReader(out)}, process.Start()
}

// ask sends a line, and returns the line that the child answers.
func (c *child) ask(what string) (string, error) {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return "", err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("child: %w", err)
	}
	return line, nil
}

func (c *child) stop() error { return errors.Join(c.in.Close(), c.process.Wait()) }
