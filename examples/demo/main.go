// Command demo shows what the library is for. It starts a rendezvous point and twenty
// gossipsub nodes that know only the address of the point. It waits until the nodes have
// found each other, publishes a message, and waits until all nodes have received it. It
// exits with 0 only if all of that succeeds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	nodes := flag.Int("nodes", 20, "number of gossipsub nodes")
	limit := flag.Duration("timeout", time.Minute, "give up after this time")
	flag.Parse()
	os.Exit(demo(*nodes, *limit))
}

// demo returns the program's exit status.
func demo(nodes int, limit time.Duration) int {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(interrupted, limit, fmt.Errorf("not finished after %v", limit))
	defer cancel()
	err := run(ctx, os.Stdout, nodes)
	switch {
	case err == nil:
		return 0
	case interrupted.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted")
		return 130
	default:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		return 1
	}
}

func run(ctx context.Context, out io.Writer, nodes int) (err error) {
	if nodes < 2 {
		return fmt.Errorf("-nodes is %d; the minimum is 2", nodes)
	}
	d := newDisplay(out, nodes)
	p, err := startPoint()
	if err != nil {
		return fmt.Errorf("start rendezvous point: %w", err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	d.step("started a rendezvous point at %s", p.addr())

	all, err := startNodes(ctx, nodes, p.info())
	defer func() { err = errors.Join(err, all.close()) }()
	if err != nil {
		return fmt.Errorf("start nodes: %w", err)
	}
	d.step("started %d nodes that know only this address", nodes)

	if err := d.waitForAll(ctx, all.registered, "nodes registered"); err != nil {
		return err
	}
	if err := d.waitForAll(ctx, all.meshed, "nodes with %d or more peers in their mesh", all.minMesh()); err != nil {
		return err
	}
	if err := all.publish(ctx, "hello, everyone"); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := d.waitForAll(ctx, all.delivered, "nodes received the message"); err != nil {
		return err
	}
	d.done()
	return nil
}
