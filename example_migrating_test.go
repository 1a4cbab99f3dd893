package rendezvous_test

import (
	"context"
	"fmt"
	"log"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// A client of points that speak libp2p's own protocol. The host is registered until ctx ends,
// and the points are told then.
func ExampleWithProtocol() {
	point, stop := examplePoint(rendezvous.WithStandardProtocol(0, 0))
	defer stop()
	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h,
		rendezvous.WithPoints(point),
		rendezvous.WithProtocol(rendezvous.StandardID),
		rendezvous.WithStandardTTL(2*time.Hour), // the default
	)
	ctx, cancel := context.WithCancel(context.Background())
	states, err := client.KeepRegistered(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	for state := range states {
		if state.Findable() {
			break
		}
	}
	found, err := client.Discover(ctx, point.ID, "my-app", 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered:", len(found), "for", found[0].TTL)

	cancel()
	for range states { // until the points were told
	}
	found, err = client.Discover(context.Background(), point.ID, "my-app", 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered:", len(found))
	if err := client.Unregister(context.Background(), point.ID, "other-app"); err != nil { // of Register
		log.Fatal(err)
	}
	// Output:
	// registered: 1 for 2h0m0s
	// registered: 0
}

// A network in transition: the client speaks RendezvousID_v001 with the points that have it,
// and libp2p's own protocol with the others.
func ExampleWithProtocol_both() {
	point, stop := examplePoint()
	defer stop()
	h := exampleHost()
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	client := rendezvous.NewClient(h,
		rendezvous.WithPoints(point), // all points, old and new
		rendezvous.WithProtocol(rendezvous.RendezvousID_v001, rendezvous.StandardID),
	)
	if _, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(client)); err != nil {
		log.Fatal(err)
	}

	states, err := client.KeepRegistered(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	for state := range states {
		if state.Findable() {
			fmt.Println("registered over", state.Namespaces[0].Points[0].Protocol)
			break
		}
	}
	// Output: registered over /vac/waku/rendezvous/0.0.1
}
