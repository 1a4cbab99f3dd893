// Command gossipsub is a chat over a gossipsub topic. Its peers find each other through a
// rendezvous point. Start it in one terminal:
//
//	go run ./examples/gossipsub
//
// It also starts a point, and prints the command that starts more peers in other
// terminals. It ends with Ctrl-C, and not with its input, so it also listens without a
// terminal: go run ./examples/gossipsub < /dev/null
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "gossipsub:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("gossipsub", flag.ContinueOnError)
	pointAddr := flags.String("point", "", "`multiaddr` of a rendezvous point; by default, start one")
	topic := flags.String("topic", "chat", "gossipsub topic")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // Parse has printed the error
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	out = &lockedWriter{out: out} // several goroutines print lines

	point, err := pointAt(*pointAddr)
	if err != nil {
		return err
	}
	defer point.close()
	if point.host != nil {
		fmt.Fprintf(out, "Started a rendezvous point. In another terminal:\n\n  go run ./examples/gossipsub -point %s\n\n", point.addr())
	}
	return chat(ctx, point.info, *topic, in, out)
}

// chat publishes the lines of the input, and prints messages and peers, until ctx ends.
func chat(ctx context.Context, point peer.AddrInfo, topic string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()

	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return fmt.Errorf("start libp2p: %w", err)
	}
	defer h.Close()

	// These two statements are all it takes to find other peers.
	disc := rendezvous.NewRendezvousDiscovery(h, rendezvous.WithPoints(point))
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(disc),
		pubsub.WithFloodPublish(true)) // also reach peers before the mesh has formed
	if err != nil {
		return fmt.Errorf("start gossipsub: %w", err)
	}
	t, err := ps.Join(topic)
	if err != nil {
		return fmt.Errorf("join %q: %w", topic, err)
	}
	sub, err := t.Subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to %q: %w", topic, err)
	}
	events, err := t.EventHandler()
	if err != nil {
		return fmt.Errorf("watch %q: %w", topic, err)
	}
	fmt.Fprintf(out, "You are %s. Looking for peers in %q. Type a line to send it.\n", name(h.ID()), topic)

	background.Go(func() { showPeers(ctx, events, out) })
	background.Go(func() { showMessages(ctx, sub, h, out) })
	return publishLines(ctx, t, in)
}

// maxLine is the length of the longest line, in bytes. Gossipsub publishes no message of
// more than 1 MiB by default, and a message is a little longer than its line.
const maxLine = 512 << 10

// publishLines publishes each line of the input until ctx ends. After the end of the input
// it waits, because others may still write.
func publishLines(ctx context.Context, t *pubsub.Topic, in io.Reader) error {
	typed := make(chan string)
	ended := make(chan error, 1)
	// A read from a terminal cannot be interrupted, so this goroutine may stay until the
	// program ends.
	go func() {
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			select {
			case typed <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		ended <- scanner.Err()
	}()
	for {
		select {
		case line := <-typed:
			if err := t.Publish(ctx, []byte(line)); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("read a line of at most %d bytes: %w", maxLine, err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func showPeers(ctx context.Context, events *pubsub.TopicEventHandler, out io.Writer) {
	for {
		e, err := events.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		what := "is here"
		if e.Type == pubsub.PeerLeave {
			what = "left"
		}
		fmt.Fprintf(out, "* %s %s\n", name(e.Peer), what)
	}
}

func showMessages(ctx context.Context, sub *pubsub.Subscription, h host.Host, out io.Writer) {
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if m.GetFrom() != h.ID() {
			fmt.Fprintf(out, "%s: %q\n", name(m.GetFrom()), m.GetData()) // quoted, because a message may contain escape sequences
		}
	}
}

// name returns the end of a peer ID, which is enough to tell a few peers apart.
func name(id peer.ID) string {
	s := id.String()
	return s[len(s)-6:]
}

// lockedWriter is an [io.Writer] for concurrent use.
type lockedWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}
