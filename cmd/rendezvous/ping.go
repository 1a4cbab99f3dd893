package main

// The subcommand ping: whether points are alive.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const pingDescription = `Connects to each point and makes a few requests there, for one registration of a
namespace that nobody uses.

   rendezvous ping --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…

The exit status is 0 only when every point answered every request, so that a
script can watch a point:

   rendezvous ping --count 1 --timeout 3s || page-somebody`

// pingNamespace is one that nobody uses.
const pingNamespace = "rendezvous-ping"

func pingCommand() *cli.Command {
	return &cli.Command{
		Name:        "ping",
		Usage:       "see whether points are alive, and how fast",
		Description: pingDescription,
		Flags: []cli.Flag{
			pointFlag(),
			&cli.IntFlag{Name: "count", Usage: "make `N` requests", Value: 5},
			jsonFlag(),
			timeoutFlag(10 * time.Second),
		},
		Action: ping,
	}
}

// pong is how a point did, times in milliseconds.
type pong struct {
	Point     string  `json:"point"`
	Address   string  `json:"address"` // the one that was connected to
	Connected float64 `json:"connected_ms"`
	Answers   int     `json:"answers"`
	Min       float64 `json:"min_ms"`
	Median    float64 `json:"median_ms"`
	Max       float64 `json:"max_ms"`
}

func ping(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	count := cmd.Int("count")
	if count < 1 || count > 1000 {
		return usagef("--count is %d, 1 to 1000 are possible", count)
	}
	points, h, err := pointsAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()

	client := rendezvous.NewClient(h)
	var failed error
	for _, p := range points {
		ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
		result, err := pingPoint(ctx, h, client, p, count)
		cancel()
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := printPong(cmd, result); err != nil {
			return err
		}
	}
	return failed
}

func pingPoint(ctx context.Context, h host.Host, client *rendezvous.Client, p peer.AddrInfo, count int) (pong, error) {
	started := time.Now()
	if err := dial(ctx, h, p); err != nil {
		return pong{}, err
	}
	result := pong{Point: p.ID.String(), Connected: millis(time.Since(started))}
	if conns := h.Network().ConnsToPeer(p.ID); len(conns) > 0 {
		result.Address = conns[0].RemoteMultiaddr().String()
	}
	var took []time.Duration
	for range count {
		started := time.Now()
		if _, err := client.Discover(ctx, p.ID, pingNamespace, 1); err != nil {
			return pong{}, asked(err)
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	result.Answers = len(took)
	result.Min, result.Median, result.Max = millis(took[0]), millis(took[len(took)/2]), millis(took[len(took)-1])
	return result, nil
}

func printPong(cmd *cli.Command, p pong) error {
	w := cmd.Root().Writer
	if cmd.Bool("json") {
		return printJSON(w, p)
	}
	_, err := fmt.Fprintf(w, "%s is alive at %s: connected in %.2f ms, %d answers in %.2f / %.2f / %.2f ms (min / median / max)\n",
		p.Point, p.Address, p.Connected, p.Answers, p.Min, p.Median, p.Max)
	if err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}
