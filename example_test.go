package rendezvous_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// exampleHost listens on loopback; your host listens where others reach it.
func exampleHost() host.Host {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	return h
}

func exampleDir() string {
	dir, err := os.MkdirTemp("", "rendezvous-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// newPubsub returns a gossipsub that finds its peers through a rendezvous point.
func newPubsub(ctx context.Context, h host.Host, point peer.AddrInfo) (*pubsub.PubSub, error) {
	disc := rendezvous.NewRendezvousDiscovery(h, rendezvous.WithPoints(point))
	return pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(disc))
}

// Adding discovery to gossipsub: nodes that subscribe to the same topic find each
// other through a rendezvous point.
func ExampleNewRendezvousDiscovery() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	point := exampleHost()
	defer point.Close()
	service := rendezvous.NewRendezvousService(point, rendezvous.NewMemoryStorage())
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()

	join := func(topic string) (*pubsub.Topic, *pubsub.Subscription) {
		h := exampleHost()
		context.AfterFunc(ctx, func() { _ = h.Close() })
		ps, err := newPubsub(ctx, h, peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()})
		if err != nil {
			log.Fatal(err)
		}
		t, err := ps.Join(topic)
		if err != nil {
			log.Fatal(err)
		}
		sub, err := t.Subscribe()
		if err != nil {
			log.Fatal(err)
		}
		return t, sub
	}
	_, sub := join("news")
	topic, _ := join("news")
	// Wait until somebody was found, then publish.
	if err := topic.Publish(ctx, []byte("hello"), pubsub.WithReadiness(pubsub.MinTopicSize(1))); err != nil {
		log.Fatal(err)
	}
	m, err := sub.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(m.GetData()))
	// Output: hello
}

// Creating a rendezvous server that keeps its registrations in a LevelDB, so that
// a restart loses none.
func ExampleNewRendezvousService() {
	h := exampleHost()
	defer h.Close()
	dir := exampleDir()
	defer os.RemoveAll(dir)

	db, err := rendezvous.OpenLevelDB(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	storage := rendezvous.NewStorage(db)
	defer storage.Close()

	service := rendezvous.NewRendezvousService(h, storage)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()
	fmt.Println("serving", rendezvous.RendezvousID_v001)
	// Output: serving /vac/waku/rendezvous/0.0.1
}

// LevelDBAdapter is a database adapter as programs have it that use this library
// with a database of their own: three methods.
type LevelDBAdapter struct {
	db *leveldb.DB
}

// Put stores a value.
func (a *LevelDBAdapter) Put(key, value []byte) error { return a.db.Put(key, value, nil) }

// Delete removes a value.
func (a *LevelDBAdapter) Delete(key []byte) error { return a.db.Delete(key, nil) }

// NewIterator walks over the keys that start with prefix.
func (a *LevelDBAdapter) NewIterator(prefix []byte) rendezvous.Iterator {
	return a.db.NewIterator(util.BytesPrefix(prefix), nil)
}

// Creating a rendezvous server on a database of one's own, here through a
// hand-written adapter.
func ExampleNewStorage() {
	h := exampleHost()
	defer h.Close()
	dir := exampleDir()
	defer os.RemoveAll(dir)

	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	service := rendezvous.NewRendezvousService(h, rendezvous.NewStorage(&LevelDBAdapter{db}))
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()
	fmt.Println("serving", rendezvous.RendezvousID_v001)
	// Output: serving /vac/waku/rendezvous/0.0.1
}

// Asking a point without gossipsub.
func ExampleClient() {
	ctx := context.Background()
	point := exampleHost()
	defer point.Close()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(point, storage)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()

	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()}))
	ttl, err := client.Register(ctx, point.ID(), "my-app", 0)
	if err != nil {
		log.Fatal(err)
	}
	found, err := client.Discover(ctx, point.ID(), "my-app", 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered for", ttl)
	fmt.Println("found myself:", len(found) == 1 && found[0].Peer.ID == h.ID())
	// Output:
	// registered for 20s
	// found myself: true
}

// Staying registered for as long as a program runs, and knowing whether it is.
func ExampleClient_KeepRegistered() {
	point := exampleHost()
	defer point.Close()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(point, storage)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()

	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	states, err := client.KeepRegistered(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	for state := range states { // until ctx ends; reading is optional
		if state.Findable() {
			fmt.Println("findable at", len(state.Namespaces[0].Points), "point")
			cancel()
		}
	}
	// Output: findable at 1 point
}

// Following who is there, without gossipsub.
func ExampleClient_Watch() {
	point := exampleHost()
	defer point.Close()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(point, storage)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()
	points := rendezvous.WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()})

	here, there := exampleHost(), exampleHost()
	defer here.Close()
	defer there.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, err := rendezvous.NewClient(here, points).Watch(ctx, "my-app")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := rendezvous.NewClient(there, points).Register(ctx, point.ID(), "my-app", 0); err != nil {
		log.Fatal(err)
	}
	for event := range events { // until ctx ends
		fmt.Println(event.Type, event.Peer.ID == there.ID())
		if event.Type == rendezvous.Joined {
			cancel()
		}
	}
	// Output: joined true
}
