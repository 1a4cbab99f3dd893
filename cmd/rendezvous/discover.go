package main

// The command discover: lists the peers in a namespace.

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const discoverDescription = `Prints the peers that are registered in a namespace. If there are more than --limit, it
prints a random sample, or over /rendezvous/1.0.0 those that the point hands out first:

   rendezvous discover --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

Print at most ten peers as JSON, or the peers of all namespaces:

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
			protocolFlag(),
			pskFlag(""),
			&cli.IntFlag{Name: "limit", Usage: "ask each point for at most `N` peers", Value: rendezvous.MaxDiscoverLimit},
			&cli.BoolFlag{Name: "all", Usage: "list the peers of all namespaces"},
			jsonFlag(),
			timeoutFlag(5 * time.Second),
		},
		Action: endsByItself(discover),
	}
}

// foundPeer is a registration that a point returned, as it is printed.
type foundPeer struct {
	Namespace string   `json:"namespace"`
	Peer      string   `json:"peer"`
	TTL       int      `json:"ttl"` // seconds
	Addrs     []string `json:"addrs"`
	Point     string   `json:"point"`
}

func newFoundPeer(point peer.ID, r rendezvous.Registration) foundPeer {
	return foundPeer{
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
		return usagef("--limit is %d; the range is 1 to %d", limit, rendezvous.MaxDiscoverLimit)
	}
	from, h, err := targetAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
	defer cancel()

	client := from.client(h)
	var mu sync.Mutex
	var found []foundPeer
	failed := eachPoint(from.points, func(p peer.AddrInfo) error {
		if err := h.dial(ctx, p); err != nil {
			return err
		}
		registrations, err := client.Discover(ctx, p.ID, ns, limit)
		mu.Lock()
		defer mu.Unlock()
		for _, r := range registrations {
			found = append(found, newFoundPeer(p.ID, r))
		}
		return requestError(err)
	})
	if err := printFound(cmd, ns, found); err != nil {
		return err
	}
	return failed
}

// discoverNamespace returns the namespace to query. Empty means all of them.
func discoverNamespace(cmd *cli.Command) (string, error) {
	if cmd.Bool("all") {
		return "", noArguments(cmd)
	}
	ns, err := namespaceArg(cmd)
	if err == nil && ns == "" { // most likely an unset variable of a shell
		err = usagef("the namespace is empty; --all lists the peers of all namespaces")
	}
	return ns, err
}

func printFound(cmd *cli.Command, ns string, found []foundPeer) error {
	slices.SortFunc(found, func(a, b foundPeer) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Point, b.Point))
	})
	if cmd.Bool("json") {
		for _, f := range found {
			if err := printJSON(cmd.Root().Writer, f); err != nil {
				return err
			}
		}
		return nil
	}
	if len(found) == 0 {
		return nil // an error may follow
	}
	rows := [][]string{{"PEER", "TTL", "ADDRESSES"}}
	for _, f := range found {
		rows = append(rows, []string{f.Peer, (time.Duration(f.TTL) * time.Second).String(), strings.Join(f.Addrs, " ")})
	}
	if ns == "" {
		rows[0] = append([]string{"NAMESPACE"}, rows[0]...)
		for i, f := range found {
			rows[i+1] = append([]string{displayNamespace(f.Namespace)}, rows[i+1]...)
		}
	}
	return printTable(cmd.Root().Writer, rows)
}
