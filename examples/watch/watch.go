package main

// Watching a namespace.

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// watch registers a peer in a namespace and calls handle with each event there, until
// handle returns false or ctx ends.
func watch(ctx context.Context, point peer.AddrInfo, namespace string, handle func(rendezvous.Event) bool) error {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return fmt.Errorf("start libp2p: %w", err)
	}
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(point))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	states, err := client.KeepRegistered(ctx, namespace)
	if err != nil {
		return err
	}
	events, err := client.Watch(ctx, namespace)
	if err != nil {
		return err
	}
	// Both channels are closed after ctx has ended, when all goroutines have.
	for states != nil || events != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if ctx.Err() == nil && !handle(e) {
				cancel()
			}
		case state, ok := <-states:
			if !ok {
				states = nil
			} else if at := state.Namespaces; len(at) > 0 && at[0].Err != nil {
				fmt.Fprintln(os.Stderr, "not registered:", at[0].Err)
			}
		}
	}
	return nil
}

func printEvent(out io.Writer, e rendezvous.Event) {
	now := time.Now().Format(time.TimeOnly)
	if e.Type == rendezvous.Left {
		fmt.Fprintf(out, "%s  %s left\n", now, e.Peer.ID)
		return
	}
	// Quoted, because peers choose their addresses, which may contain escape sequences.
	fmt.Fprintf(out, "%s  %s %s, at %q\n", now, e.Peer.ID, e.Type, e.Peer.Addrs)
}
