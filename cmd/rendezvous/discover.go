package main

// The subcommand discover: who is in a namespace now.

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const discoverDescription = `Prints who is registered in a namespace: a random sample where there are many.

   rendezvous discover --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

Ten of them, for a program; and across all namespaces:

   rendezvous discover --json --limit 10 news
   rendezvous discover --all`

func discoverCommand() *cli.Command {
	return &cli.Command{
		Name:        "discover",
		Usage:       "list the peers in a namespace",
		ArgsUsage:   "NS",
		Description: discoverDescription,
		Flags: []cli.Flag{
			pointFlag(),
			&cli.IntFlag{Name: "limit", Usage: "ask each point for `N` peers at most", Value: rendezvous.MaxDiscoverLimit},
			&cli.BoolFlag{Name: "all", Usage: "ask across all namespaces"},
			jsonFlag(),
			timeoutFlag(5 * time.Second),
		},
		Action: discover,
	}
}

// found is a registration as it is printed.
type found struct {
	Namespace string   `json:"namespace"`
	Peer      string   `json:"peer"`
	TTL       int      `json:"ttl"` // seconds
	Addrs     []string `json:"addrs"`
	Point     string   `json:"point"`
}

func newFound(point peer.ID, r rendezvous.Registration) found {
	return found{
		Namespace: r.Namespace,
		Peer:      r.Peer.ID.String(),
		TTL:       int(r.TTL / time.Second),
		Addrs:     addrStrings(r.Peer),
		Point:     point.String(),
	}
}

func discover(ctx context.Context, cmd *cli.Command) error {
	ns, err := discoverNamespace(cmd)
	if err != nil {
		return err
	}
	limit := cmd.Int("limit")
	if limit < 1 || limit > rendezvous.MaxDiscoverLimit {
		return usagef("--limit is %d, 1 to %d are possible", limit, rendezvous.MaxDiscoverLimit)
	}
	points, h, err := pointsAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
	defer cancel()

	client := rendezvous.NewClient(h, rendezvous.WithPoints(points...))
	var list []found
	var failed error
	for _, p := range points {
		if err := dial(ctx, h, p); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		registrations, err := client.Discover(ctx, p.ID, ns, limit)
		failed = errors.Join(failed, asked(err))
		for _, r := range registrations {
			list = append(list, newFound(p.ID, r))
		}
	}
	if err := printFound(cmd, ns, list); err != nil {
		return err
	}
	return failed
}

func discoverNamespace(cmd *cli.Command) (string, error) {
	if cmd.Bool("all") {
		return "", noArguments(cmd)
	}
	ns, err := namespace(cmd)
	if err == nil && ns == "" { // an unset variable, most likely
		err = usagef("the namespace is empty; --all asks across all of them")
	}
	return ns, err
}

func printFound(cmd *cli.Command, ns string, list []found) error {
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Point, b.Point))
	})
	if cmd.Bool("json") {
		for _, f := range list {
			if err := printJSON(cmd.Root().Writer, f); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"PEER", "TTL", "ADDRESSES"}}
	for _, f := range list {
		rows = append(rows, []string{f.Peer, (time.Duration(f.TTL) * time.Second).String(), strings.Join(f.Addrs, " ")})
	}
	if ns == "" { // across all: say which each is of
		rows[0] = append([]string{"NAMESPACE"}, rows[0]...)
		for i, f := range list {
			rows[i+1] = append([]string{shown(f.Namespace)}, rows[i+1]...)
		}
	}
	return printTable(cmd.Root().Writer, rows)
}
