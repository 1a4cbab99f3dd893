package main

// The command ping: checks that points answer.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const pingDescription = `Connects to each point and sends it a few DISCOVER requests, for a namespace that
nobody uses.

   rendezvous ping --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…

The exit status is 0 only if every point answered every request, so a script can
monitor a point:

   rendezvous ping --count 1 --timeout 3s || page-somebody`

// pingNamespace is a namespace that nobody uses, so the answers are empty.
const pingNamespace = "rendezvous-ping"

func pingCommand() *cli.Command {
	return &cli.Command{
		Name:        "ping",
		Usage:       "check whether points answer, and how fast",
		Description: pingDescription,
		Flags: []cli.Flag{
			pointFlag(),
			protocolFlag(),
			pskFlag(""),
			&cli.IntFlag{Name: "count", Usage: "send `N` requests to each point", Value: 5},
			jsonFlag(),
			timeoutFlag(10 * time.Second),
		},
		Action: endsByItself(ping),
	}
}

// pingResult has the times of a point in milliseconds.
type pingResult struct {
	Point     string  `json:"point"`
	Address   string  `json:"address"` // of the connection
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
		return usagef("--count is %d; the range is 1 to 1000", count)
	}
	to, h, err := targetAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()

	client := to.client(h)
	var mu sync.Mutex // one prints at a time
	return eachPoint(to.points, func(p peer.AddrInfo) error {
		limited, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
		defer cancel()
		result, err := pingPoint(limited, h, client, p, count)
		interrupted := ctx.Err() != nil && result.Answers > 0
		if err != nil && !interrupted {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(err, printPingResult(cmd, result))
	})
}

// pingPoint connects to a point and sends it requests, one after the other. With an error
// it returns the result so far.
func pingPoint(ctx context.Context, h *clientHost, client *rendezvous.Client, p peer.AddrInfo, count int) (pingResult, error) {
	result := pingResult{Point: p.ID.String()}
	started := time.Now()
	if err := h.dial(ctx, p); err != nil {
		return result, err
	}
	result.Connected = milliseconds(time.Since(started))
	if conns := h.Network().ConnsToPeer(p.ID); len(conns) > 0 {
		result.Address = conns[0].RemoteMultiaddr().String()
	}
	var took []time.Duration
	var failed error
	for range count {
		started := time.Now()
		if _, err := client.Discover(ctx, p.ID, pingNamespace, 1); err != nil {
			failed = requestError(err)
			break
		}
		took = append(took, time.Since(started))
	}
	if len(took) > 0 {
		slices.Sort(took)
		result.Answers = len(took)
		result.Min, result.Median, result.Max = milliseconds(took[0]), milliseconds(took[len(took)/2]), milliseconds(took[len(took)-1])
	}
	return result, failed
}

func printPingResult(cmd *cli.Command, p pingResult) error {
	w := cmd.Root().Writer
	if cmd.Bool("json") {
		return printJSON(w, p)
	}
	return printLine(w, "%s is alive at %s: connected in %.2f ms, %d answers in %.2f / %.2f / %.2f ms (min / median / max)",
		p.Point, p.Address, p.Connected, p.Answers, p.Min, p.Median, p.Max)
}
