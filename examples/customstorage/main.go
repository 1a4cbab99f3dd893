// Command customstorage is a rendezvous point with a custom storage, which keeps the
// registrations in a bbolt database:
//
//	go run ./examples/customstorage
//
// It prints a command that starts a peer of the point. The database is a file in the
// directory for temporary files, or the file that -file names.
//
// [rendezvous.Storage] documents what a storage must do, and [rendezvous.Pager] what one does
// that pages: pages.go and order.go show what that takes. storage_test.go checks this storage
// with a few lines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func main() {
	path := flag.String("file", filepath.Join(os.TempDir(), "rendezvous.bolt"), "database `file`, created if it does not exist")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "customstorage: unexpected argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *path); err != nil {
		fmt.Fprintln(os.Stderr, "customstorage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) (err error) {
	storage, err := Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.Close()) }()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	point := rendezvous.NewRendezvousService(h, storage)
	if err := point.Start(); err != nil {
		return err
	}
	defer point.Stop()
	if err := printCommands(h); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func printCommands(h host.Host) error {
	addrs, err := peer.AddrInfoToP2pAddrs(host.InfoFromHost(h))
	if err != nil {
		return err
	}
	for _, a := range addrs {
		fmt.Println("go run ./examples/gossipsub -point", a)
	}
	return nil
}
