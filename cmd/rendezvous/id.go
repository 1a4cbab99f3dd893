package main

// The command id: shows the identity of a key or of a point.

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/urfave/cli/v3"
)

const idDescription = `Prints the peer ID of the key in a file. A missing file is created with a new key:

   rendezvous id --key /var/lib/rendezvous/key

With --point, connects to points and prints the peer ID, software, rendezvous protocols and
addresses that they announce. With --key as well, prints both; RENDEZVOUS_POINT counts as
--point:

   rendezvous id --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…`

func idCommand() *cli.Command {
	return &cli.Command{
		Name:        "id",
		Usage:       "show the peer ID of a key, or the identity of points",
		Description: idDescription,
		Flags:       []cli.Flag{pointFlag(), protocolFlag(), pskFlag(""), keyFlag(""), jsonFlag(), timeoutFlag(5 * time.Second)},
		Action:      endsByItself(id),
	}
}

// identity is a peer ID and, for a point, what it announces through identify.
type identity struct {
	Peer   string   `json:"peer"`
	Agent  string   `json:"agent,omitempty"`
	Serves []string `json:"rendezvous,omitempty"` // the rendezvous protocols that it serves
	Addrs  []string `json:"addrs,omitempty"`
}

func id(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	hasPoints := len(cmd.StringSlice("point")) > 0
	if !hasPoints || cmd.IsSet("key") {
		if err := printKeyID(cmd); err != nil || !hasPoints {
			return err
		}
	}
	of, h, err := targetAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
	defer cancel()
	var mu sync.Mutex // one prints at a time
	return eachPoint(of.points, func(p peer.AddrInfo) error {
		if err := h.dial(ctx, p); err != nil { // Connect also waits for identify
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return printIdentity(cmd, newIdentity(h, p.ID, of.protocols))
	})
}

func printKeyID(cmd *cli.Command) error {
	path, err := keyPath(cmd)
	if err != nil {
		return err
	}
	key, err := loadKey(path)
	if err != nil {
		return err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return failf(exitFailed, "key file %s: %w", path, err)
	}
	return printIdentity(cmd, identity{Peer: id.String()})
}

// newIdentity returns what h has learned about a peer that it is connected to, and which of
// the protocols the peer serves.
func newIdentity(h host.Host, p peer.ID, protocols []protocol.ID) identity {
	i := identity{Peer: p.String()}
	if agent, err := h.Peerstore().Get(p, "AgentVersion"); err == nil {
		i.Agent = fmt.Sprint(agent)
	}
	supported, err := h.Peerstore().SupportsProtocols(p, protocols...)
	if err == nil {
		i.Serves = protocol.ConvertToStrings(supported)
	}
	for _, a := range h.Peerstore().Addrs(p) {
		i.Addrs = append(i.Addrs, a.String())
	}
	slices.Sort(i.Addrs)
	return i
}

func printIdentity(cmd *cli.Command, i identity) error {
	w := cmd.Root().Writer
	if cmd.Bool("json") {
		return printJSON(w, i)
	}
	if err := printLine(w, "%s", i.Peer); err != nil || i.Agent == "" {
		return err
	}
	return printDetails(w, i)
}

func printDetails(w io.Writer, i identity) error {
	lines := []string{"runs " + i.Agent}
	for _, id := range i.Serves {
		lines = append(lines, "serves "+id)
	}
	if len(i.Serves) == 0 {
		lines = append(lines, "serves no rendezvous protocol that was asked for")
	}
	for _, a := range i.Addrs {
		lines = append(lines, a+"/p2p/"+i.Peer)
	}
	for _, line := range lines {
		if err := printLine(w, "  %s", line); err != nil {
			return err
		}
	}
	return nil
}
