// Command customstorage is a rendezvous point with a storage of its own making:
//
//	go run ./examples/customstorage [file]
//
// What a storage must do is in the package documentation of
// [rendezvous.Storage]; that this one does, storage_test.go shows in a few lines.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func main() {
	path := "rendezvous.bolt"
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, path); err != nil {
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
	h, err := libp2p.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	point := rendezvous.NewRendezvousService(h, storage)
	if err := point.Start(); err != nil {
		return err
	}
	defer point.Stop()
	if err := printAddresses(h); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func printAddresses(h host.Host) error {
	addrs, err := peer.AddrInfoToP2pAddrs(host.InfoFromHost(h))
	if err != nil {
		return err
	}
	for _, a := range addrs {
		fmt.Println(a)
	}
	return nil
}
