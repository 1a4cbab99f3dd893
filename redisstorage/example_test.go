package redisstorage_test

import (
	"context"
	"log"

	"github.com/libp2p/go-libp2p"
	"github.com/prometheus/client_golang/prometheus"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/redisstorage"
)

// This is one of several points that share a registry. The example is compiled but not
// run, because it needs a server.
func ExampleOpen() {
	ctx := context.Background()
	storage, err := redisstorage.Open(ctx, "redis://:password@10.0.0.1:6379/0", redisstorage.WithPrefix("my-network"))
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()
	prometheus.MustRegister(storage)

	h, err := libp2p.New()
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	service := rendezvous.NewRendezvousService(h, storage)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()
	<-ctx.Done()
}
