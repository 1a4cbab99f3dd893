// Command interop runs clients of other libp2p implementations against rendezvous points, and
// the client of this library against the server of another one, and prints what works:
//
//	make interop
//
// The points are processes of "rendezvous serve", with registrations in memory, in LevelDB
// and on Redis. The clients are programs of js-libp2p, of the directory interop: in
// processes of Node, and in pages of a headless Chromium. Beside each of them a peer of this
// library speaks the other protocol to the same point, and they must find each other. The
// server is a program of js-libp2p in a process of Node.
//
// It exits with 1 if anything does not work.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"
)

// limit is the time for everything. A run takes about a minute and a half.
const limit = 5 * time.Minute

func main() {
	binary := flag.String("rendezvous", "bin/rendezvous", "the rendezvous command")
	programs := flag.String("programs", "interop", "the directory of the clients and the server, with what they need installed")
	page := flag.String("page", "bin/interop/page.js", "the script of the page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, *binary, *programs, *page)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// run starts everything, has everything checked at once, and stops everything.
func run(ctx context.Context, binary, programs, page string) error {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		return fmt.Errorf("make a directory for logs: %w", err)
	}
	w := &world{dir: dir, programs: programs}
	defer w.close()
	if w.binary, err = filepath.Abs(binary); err != nil {
		return fmt.Errorf("find the rendezvous command: %w", err)
	}
	if err := w.open(ctx, page); err != nil {
		return err
	}
	clients, servers := checkAll(ctx, w)
	printTable(os.Stdout, "client", clients)
	fmt.Println()
	printTable(os.Stdout, "server", servers)
	for _, r := range slices.Concat(clients, servers) {
		if r.failed() {
			return fmt.Errorf("not everything works; logs are in %s", dir)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the logs: %w", err)
	}
	return nil
}
