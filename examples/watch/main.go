// Command watch prints which peers join and leave a namespace, without gossipsub. It is
// itself registered in the namespace meanwhile.
//
//	go run ./examples/watch -point /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… -namespace chat
//
// Without -point it starts a point and three peers, stops one of the peers, and ends when
// it has seen that peer leave. This takes up to half a minute, because the registration
// of the peer has to expire.
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
	point := flags.String("point", "", "`multiaddr` of a rendezvous point; by default, start a point and peers to watch")
	namespace := flags.String("namespace", "chat", "namespace to watch")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // Parse has printed the error
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if *point == "" {
		return runDemo(ctx, *namespace, out)
	}
	info, err := peer.AddrInfoFromString(*point)
	if err != nil {
		return fmt.Errorf("-point %q is not an address with a peer ID, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…: %w", *point, err)
	}
	return watch(ctx, *info, *namespace, func(e rendezvous.Event) bool {
		printEvent(out, e)
		return true
	})
}
