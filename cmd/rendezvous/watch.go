package main

// The subcommand watch: who joins a namespace and who leaves it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const watchDescription = `Prints a line for each peer that joins a namespace and for each that leaves it,
until Ctrl-C. A peer that is gone is seen to leave within its TTL, 20 seconds.

   rendezvous watch --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news`

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:        "watch",
		Usage:       "see peers join and leave a namespace until interrupted",
		ArgsUsage:   "NS",
		Description: watchDescription,
		Flags:       []cli.Flag{pointFlag(), jsonFlag(), timeoutFlag(5 * time.Second)},
		Action:      watch,
	}
}

func watch(ctx context.Context, cmd *cli.Command) error {
	ns, err := namespace(cmd)
	if err != nil {
		return err
	}
	points, h, err := pointsAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := dialAny(ctx, cmd.Duration("timeout"), h, points); err != nil {
		return err
	}
	client := rendezvous.NewClient(h, rendezvous.WithPoints(points...), rendezvous.WithRedundancy(len(points)))
	events, err := client.Watch(ctx, ns)
	if err != nil {
		return refused(err)
	}
	show := showEvent
	if cmd.Bool("json") {
		show = showEventJSON
	}
	for e := range events {
		if err := show(cmd.Root().Writer, e); err != nil {
			return err
		}
	}
	return nil
}

// dialAny makes sure that a point is there at the start. One that goes away later
// is waited for.
func dialAny(ctx context.Context, timeout time.Duration, h host.Host, points []peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var failed error
	for _, p := range points {
		err := dial(ctx, h, p)
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func showEvent(w io.Writer, e rendezvous.Event) error {
	sign := "-"
	if e.Joined {
		sign = "+"
	}
	line := fmt.Sprintf("%s  %s %s  %s", time.Now().Format(time.TimeOnly), sign, e.Peer.ID, strings.Join(addrStrings(e.Peer), " "))
	if _, err := fmt.Fprintln(w, strings.TrimSpace(line)); err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}

// change is an event as JSON.
type change struct {
	Time   time.Time `json:"time"`
	Joined bool      `json:"joined"`
	Peer   string    `json:"peer"`
	Addrs  []string  `json:"addrs,omitempty"`
}

func showEventJSON(w io.Writer, e rendezvous.Event) error {
	return printJSON(w, change{time.Now(), e.Joined, e.Peer.ID.String(), addrStrings(e.Peer)})
}

func addrStrings(p peer.AddrInfo) []string {
	addrs := make([]string, 0, len(p.Addrs))
	for _, a := range p.Addrs {
		addrs = append(addrs, a.String())
	}
	return addrs
}
