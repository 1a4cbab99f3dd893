package rendezvous_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// A client that registers at three points of each namespace, where there are as many,
// and only such addresses as can be reached from anywhere. This host has none.
func ExampleNewClient() {
	point, stop := examplePoint()
	defer stop()
	h := exampleHost() // on loopback
	defer h.Close()

	client := rendezvous.NewClient(h,
		rendezvous.WithPoints(point),
		rendezvous.WithRedundancy(3),
		rendezvous.WithAddrsFactory(rendezvous.PublicAddrs), // the default is AllAddrs
	)
	_, err := client.Register(context.Background(), point.ID, "my-app", 0)
	fmt.Println("nothing to register yet:", errors.Is(err, rendezvous.ErrNoAddresses))
	// Output: nothing to register yet: true
}

// Who is in a namespace, asked once.
func ExampleClient_Discover() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	point, stop := examplePoint()
	defer stop()
	for range 3 {
		h := exampleHost()
		context.AfterFunc(ctx, func() { _ = h.Close() })
		client := rendezvous.NewClient(h, rendezvous.WithPoints(point), rendezvous.WithAddrsFactory(rendezvous.AllAddrs))
		if _, err := client.Register(ctx, point.ID, "my-app", 0); err != nil {
			log.Fatal(err)
		}
	}

	h := exampleHost()
	defer h.Close()
	found, err := rendezvous.NewClient(h, rendezvous.WithPoints(point)).Discover(ctx, point.ID, "my-app", 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, registration := range found {
		fmt.Println(registration.Namespace, registration.TTL, len(registration.Peer.Addrs) > 0)
	}
	// Output:
	// my-app 20s true
	// my-app 20s true
	// my-app 20s true
}

// What a point answered, for a program to act on and for a person to read.
func ExampleStatusError() {
	point, stop := examplePoint()
	defer stop()
	h := exampleHost()
	defer h.Close()

	client := rendezvous.NewClient(h, rendezvous.WithPoints(point))
	_, err := client.Register(context.Background(), point.ID, "my-app", time.Hour)
	fmt.Println(errors.Is(err, rendezvous.ErrInvalidTTL))
	if refused, ok := errors.AsType[*rendezvous.StatusError](err); ok {
		fmt.Println(refused.Status, refused)
	}
	// Output:
	// true
	// E_INVALID_TTL invalid ttl: "ttl is over 20 seconds"
}

// Discovery without gossipsub: Advertise again after what it returns, and FindPeers
// when peers are needed. Client.KeepRegistered does the first by itself.
func ExampleClient_FindPeers() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // Advertise keeps the host registered until then
	point, stop := examplePoint()
	defer stop()
	here, there := exampleHost(), exampleHost()
	defer here.Close()
	defer there.Close()

	next, err := rendezvous.NewRendezvousDiscovery(there, rendezvous.WithPoints(point)).Advertise(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("again within the TTL:", next < rendezvous.DefaultTTL)
	client := rendezvous.NewClient(here, rendezvous.WithPoints(point))
	peers, err := client.FindPeers(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	for p := range peers {
		fmt.Println("found:", p.ID == there.ID())
	}
	if err := client.SearchErr(); err != nil {
		fmt.Println("no point has answered for 20 seconds:", err)
	}
	// Output:
	// again within the TTL: true
	// found: true
}

// The points of a client can be replaced while it runs, for example when a configuration
// is reloaded.
func ExampleClient_SetPoints() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, stopFirst := examplePoint()
	defer stopFirst()
	second, stopSecond := examplePoint()
	defer stopSecond()
	h := exampleHost()
	defer h.Close()

	client := rendezvous.NewClient(h, rendezvous.WithPoints(first), rendezvous.WithRedundancy(1))
	if _, err := client.Advertise(ctx, "my-app"); err != nil {
		log.Fatal(err)
	}
	if err := client.SetPoints(second); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Advertise(ctx, "my-app"); err != nil {
		log.Fatal(err)
	}
	found, err := client.Discover(ctx, second.ID, "my-app", 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered at the second point:", len(found) == 1)
	// Output: registered at the second point: true
}
