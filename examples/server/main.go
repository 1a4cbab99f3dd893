// Command server embeds a rendezvous point in a Go program. The point has a LevelDB
// database, its own limits, and metrics for Prometheus.
//
//	go run ./examples/server
//
// It prints its address, which can be tried with
//
//	go run ./examples/gossipsub -point ADDRESS
//
// and serves until it is interrupted. If you need a point and nothing else, use
// cmd/rendezvous.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	listen := flags.String("listen", "/ip4/127.0.0.1/tcp/0", "`multiaddr` to listen on")
	dir := flags.String("db", "", "`directory` of the database; by default, a temporary one")
	metrics := flags.String("metrics", "127.0.0.1:0", "`address` to serve metrics on")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // Parse has printed the error
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if *dir == "" {
		temporary, err := os.MkdirTemp("", "rendezvous-server-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		*dir = temporary
	}

	h, err := newHost(*listen)
	if err != nil {
		return err
	}
	defer h.Close()
	db, err := rendezvous.OpenLevelDB(*dir)
	if err != nil {
		return err
	}
	defer db.Close()
	storage := rendezvous.NewStorage(db)
	defer storage.Close()

	registry := prometheus.NewRegistry()
	service := rendezvous.NewRendezvousService(h, storage,
		rendezvous.WithMetrics(registry),
		rendezvous.WithMaxRegistrations(100_000),   // take less than 100 MB
		rendezvous.WithMaxRegistrationsPerPeer(50), // our peers use ten topics
		rendezvous.WithRateLimit(20, 40),           // and discover each about once a second
	)
	if err := service.Start(); err != nil {
		return err
	}
	defer service.Stop()

	web, err := serveMetrics(ctx, *metrics, registry)
	if err != nil {
		return err
	}
	defer web.Close()
	for _, a := range h.Addrs() {
		fmt.Fprintf(out, "point:   %s/p2p/%s\n", a, h.ID())
	}
	fmt.Fprintf(out, "metrics: http://%s/metrics\n", web.Addr)
	<-ctx.Done()
	fmt.Fprintln(out, "stopping")
	return nil
}

// newHost returns a host whose resource manager has the limits that a point needs.
func newHost(listen string) (host.Host, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	rendezvous.Limits(&limits)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rendezvous.ConnLimits(64)...)
	if err != nil {
		return nil, fmt.Errorf("start resource manager: %w", err)
	}
	h, err := libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.ResourceManager(manager))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", listen, err)
	}
	return h, nil
}

// serveMetrics serves the metrics of a registry until the caller closes the server.
func serveMetrics(ctx context.Context, addr string, registry *prometheus.Registry) (*http.Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: l.Addr().String(), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // returns after Close
	return server, nil
}
