package main

// The subcommand id: who a key or a point is.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const idDescription = `Prints the peer ID that a key file stands for, which is made when it is not there:

   rendezvous id --key /var/lib/rendezvous/key

Asks points who they are, what they run and where they are to be reached, too, where
there are any:

   rendezvous id --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…`

func idCommand() *cli.Command {
	return &cli.Command{
		Name:        "id",
		Usage:       "show the peer ID of a key, or what points say of themselves",
		Description: idDescription,
		Flags:       []cli.Flag{pointFlag(), keyFlag(""), jsonFlag(), timeoutFlag(5 * time.Second)},
		Action:      id,
	}
}

// identity is what is known of a peer.
type identity struct {
	Peer   string   `json:"peer"`
	Agent  string   `json:"agent,omitempty"`
	Speaks bool     `json:"rendezvous,omitempty"` // whether it serves the protocol
	Addrs  []string `json:"addrs,omitempty"`
}

func id(ctx context.Context, cmd *cli.Command) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	if asks := len(cmd.StringSlice("point")) > 0; !asks || cmd.IsSet("key") {
		if err := keyID(cmd); err != nil || !asks {
			return err
		}
	}
	points, h, err := pointsAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
	defer cancel()
	var failed error
	for _, p := range points {
		if err := dial(ctx, h, p); err != nil { // which also waits for identify
			failed = errors.Join(failed, err)
			continue
		}
		if err := printIdentity(cmd, newIdentity(h, p.ID)); err != nil {
			return err
		}
	}
	return failed
}

func keyID(cmd *cli.Command) error {
	key, err := loadKey(cmd.String("key"))
	if err != nil {
		return err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return failf(exitFailed, "key file %s: %w", cmd.String("key"), err)
	}
	return printIdentity(cmd, identity{Peer: id.String()})
}

func newIdentity(h host.Host, p peer.ID) identity {
	i := identity{Peer: p.String()}
	if agent, err := h.Peerstore().Get(p, "AgentVersion"); err == nil {
		i.Agent = fmt.Sprint(agent)
	}
	speaks, err := h.Peerstore().SupportsProtocols(p, rendezvous.RendezvousID_v001)
	i.Speaks = err == nil && len(speaks) > 0
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
	fmt.Fprintln(w, i.Peer)
	if i.Agent != "" {
		printDetails(w, i)
	}
	return nil
}

func printDetails(w io.Writer, i identity) {
	serves := "does not serve " + string(rendezvous.RendezvousID_v001)
	if i.Speaks {
		serves = "serves " + string(rendezvous.RendezvousID_v001)
	}
	fmt.Fprintf(w, "  runs %s\n  %s\n", printable(i.Agent), serves)
	for _, a := range i.Addrs {
		fmt.Fprintf(w, "  %s/p2p/%s\n", a, i.Peer)
	}
}
