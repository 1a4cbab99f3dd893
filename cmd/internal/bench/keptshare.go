package main

// The point's share of what it costs to stay registered. The clients run in another process, so
// that the CPU time of this one is the point's.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The keepers answer each of these lines with the counts of their requests.
const (
	keepersRegister = "register" // and first, stay registered for 20 seconds more
	keepersCount    = "count"
)

// measurePointShare returns the CPU time in µs that a refresh takes in the process of the point, less
// what the process takes while it is idle. It is the median of as many turns as the clients take in
// this process, of the same length.
func measurePointShare(ctx context.Context, p *point, length time.Duration) (cpu float64, err error) {
	idle := quietest(func() usage { return usageDuring(length) })
	keepers, err := startChild(ctx, "-keepers", p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, keepers.stop()) }()
	turns := make([]float64, keptRounds)
	for i := range turns {
		if _, _, err := askKeepers(keepers, keepersRegister); err != nil {
			return 0, err
		}
		s, err := settledCost(ctx, length, idle, func() (answered, failed int64, err error) { return askKeepers(keepers, keepersCount) })
		if err != nil {
			return 0, err
		}
		turns[i] = s.CPU
	}
	return round1(median(turns)), nil
}

// askKeepers sends the keepers a line, and returns how many of their requests were answered and failed
// so far.
func askKeepers(keepers *child, what string) (answered, failed int64, err error) {
	line, err := keepers.ask(what)
	if err == nil {
		_, err = fmt.Sscan(line, &answered, &failed)
	}
	return answered, failed, err
}

// runKeepers is the main function of the process whose clients stay registered at a point over TCP. It
// has as many hosts and clients as the process that measures both ends together.
func runKeepers(ctx context.Context, address string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	point, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	b := &testbed{transport: "TCP"}
	defer b.close()
	hosts := make([]host.Host, numClients)
	for i := range hosts {
		if hosts[i], err = b.newHost(); err != nil {
			return err
		}
	}
	kept := newKeptClients(hosts, *point)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == keepersRegister {
			if err := kept.stayRegistered(ctx); err != nil {
				return err
			}
		}
		answered, failed, _ := kept.requests.counts()
		if _, err := fmt.Fprintln(out, answered, failed); err != nil {
			return err
		}
	}
	return lines.Err()
}
