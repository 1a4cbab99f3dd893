// Command watch shows who joins a namespace and who leaves it, and is itself
// registered there meanwhile, without gossipsub:
//
//	go run ./examples/watch -point /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… -namespace chat
//
// Without -point it starts a point and three peers of its own, one of which leaves
// after a while, and ends when that was seen: within half a minute, for leaving
// takes up to one TTL.
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

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "watch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	point := flags.String("point", "", "`multiaddr` of a rendezvous point; without it, one is started, with peers to watch")
	namespace := flags.String("namespace", "chat", "what to watch")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // Parse has said what is wrong
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("there is no argument %q; see -help", flags.Arg(0))
	}
	if *point == "" {
		return demonstrate(ctx, *namespace, out)
	}
	info, err := peer.AddrInfoFromString(*point)
	if err != nil {
		return fmt.Errorf("-point %q is no address of a peer, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…: %w", *point, err)
	}
	return watch(ctx, *info, *namespace, func(e rendezvous.Event) bool {
		show(out, e)
		return true
	})
}

// watch calls each with what happens in a namespace, until it returns false or ctx
// ends, and keeps this peer registered there meanwhile.
func watch(ctx context.Context, point peer.AddrInfo, namespace string, each func(rendezvous.Event) bool) error {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return fmt.Errorf("start libp2p: %w", err)
	}
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(point))

	ctx, cancel := context.WithCancel(ctx)
	registered, err := client.KeepRegistered(ctx, namespace)
	if err != nil {
		cancel()
		return err
	}
	events, err := client.Watch(ctx, namespace)
	if err != nil {
		cancel()
		return err
	}
	states := registered
	for {
		select {
		case e, more := <-events:
			if more && each(e) {
				continue
			}
			cancel()
			for range registered { // closed when all that was started has ended
			}
			for range events {
			}
			return nil
		case state, more := <-states:
			if !more {
				states = nil // it has ended, and events ends next
			} else if at := state.Namespaces; len(at) > 0 && at[0].Err != nil {
				fmt.Fprintln(os.Stderr, "not registered:", at[0].Err)
			}
		}
	}
}

func show(out io.Writer, e rendezvous.Event) {
	now := time.Now().Format(time.TimeOnly)
	if e.Type == rendezvous.Left {
		fmt.Fprintf(out, "%s  %s left\n", now, e.Peer.ID)
		return
	}
	fmt.Fprintf(out, "%s  %s %s, at %v\n", now, e.Peer.ID, e.Type, e.Peer.Addrs)
}
