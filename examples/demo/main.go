// Command demo shows the library's main job: it starts a rendezvous point and
// twenty gossipsub nodes that know nothing but the point's address, waits until
// they have found each other, publishes a message and checks that all have it.
// It exits with 0 only if that happened.
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
	nodes := flag.Int("nodes", 20, "how many gossipsub nodes to start")
	limit := flag.Duration("timeout", time.Minute, "how long everything may take")
	flag.Parse()
	os.Exit(demo(*nodes, *limit))
}

// demo returns the program's exit status.
func demo(nodes int, limit time.Duration) int {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(interrupted, limit, fmt.Errorf("not done after %v", limit))
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
		return fmt.Errorf("%d nodes cannot find each other, start at least 2", nodes)
	}
	show := newDisplay(out, nodes)
	p, err := startPoint()
	if err != nil {
		return fmt.Errorf("start rendezvous point: %w", err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	show.step("a rendezvous point is up at %s", p.addr())

	swarm, err := startNodes(ctx, nodes, p.info())
	defer func() { err = errors.Join(err, swarm.close()) }()
	if err != nil {
		return fmt.Errorf("start nodes: %w", err)
	}
	show.step("%d nodes are up, and know only that address", nodes)

	if err := show.until(ctx, swarm, swarm.registered, "nodes registered"); err != nil {
		return err
	}
	if err := show.until(ctx, swarm, swarm.meshed, "nodes in the mesh, with %d neighbours or more", swarm.enough()); err != nil {
		return err
	}
	if err := swarm.publish(ctx, "hello, everyone"); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := show.until(ctx, swarm, swarm.delivered, "nodes have the message"); err != nil {
		return err
	}
	show.done()
	return nil
}
