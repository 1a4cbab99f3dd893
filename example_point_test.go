package rendezvous_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/prometheus/client_golang/prometheus"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// examplePoint is a point with these options, and how others reach it.
func examplePoint(opts ...rendezvous.ServiceOption) (at peer.AddrInfo, stop func()) {
	h := exampleHost()
	storage := rendezvous.NewMemoryStorage()
	service := rendezvous.NewRendezvousService(h, storage, opts...)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	return *host.InfoFromHost(h), func() {
		service.Stop()
		_ = storage.Close()
		_ = h.Close()
	}
}

// A point that lets each peer do little, for a short time.
func ExampleWithRateLimit() {
	ctx := context.Background()
	point, stop := examplePoint(
		rendezvous.WithRateLimit(1, 3),           // requests per second, and at once; the first has a new record and counts twice
		rendezvous.WithEgressLimit(1<<20, 4<<20), // bytes of answers per second, and at once
		rendezvous.WithTTL(10*time.Second, 20*time.Second),
		rendezvous.WithMaxRegistrations(100_000),
		rendezvous.WithMaxRegistrationBytes(64<<20),
		rendezvous.WithMaxRegistrationsPerPeer(10),
		rendezvous.WithMaxRegistrationsPerIP(100),
		rendezvous.WithMaxDiscoverLimit(50),
	)
	defer stop()

	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(point))
	for _, topic := range []string{"news", "weather", "sports"} {
		ttl, err := client.Register(ctx, point.ID, topic, 0)
		fmt.Println(ttl, errors.Is(err, rendezvous.ErrUnavailable))
	}
	// Output:
	// 10s false
	// 10s false
	// 0s true
}

// A point that serves libp2p's own protocol as well, also under the ID that js-libp2p's
// client uses.
func ExampleWithStandardProtocol() {
	const canvas = "/canvas/rendezvous/1.0.0"
	h := exampleHost() // with rendezvous.Limits(&limits, canvas)
	defer h.Close()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(h, storage,
		rendezvous.WithStandardProtocol(2*time.Hour, 72*time.Hour),
		rendezvous.WithStandardID(canvas),
	)
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()

	for _, id := range h.Mux().Protocols() {
		if strings.Contains(string(id), "rendezvous") {
			fmt.Println(id)
		}
	}
	// Unordered output:
	// /vac/waku/rendezvous/0.0.1
	// /rendezvous/1.0.0
	// /canvas/rendezvous/1.0.0
}

// What a point counts, for Prometheus to fetch.
func ExampleWithMetrics() {
	registry := prometheus.NewRegistry()
	point, stop := examplePoint(rendezvous.WithMetrics(registry))
	defer stop()

	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(point), rendezvous.WithClientMetrics(registry))
	if _, err := client.Register(context.Background(), point.ID, "my-app", 0); err != nil {
		log.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "libp2p_rendezvous_registrations" {
			fmt.Println(family.GetName(), family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: libp2p_rendezvous_registrations 1
}

// requestLog is a tracer that prints each request, and counts it for Prometheus as well.
type requestLog struct{ rendezvous.MetricsTracer }

func (l requestLog) RequestAnswered(r rendezvous.RequestAnswered) {
	fmt.Println(r.Type, r.Status)
	l.MetricsTracer.RequestAnswered(r)
}

func ExampleNewMetricsTracer() {
	tracer, err := rendezvous.NewMetricsTracer(prometheus.NewRegistry())
	if err != nil {
		log.Fatal(err)
	}
	point, stop := examplePoint(rendezvous.WithMetricsTracer(requestLog{tracer}))

	h := exampleHost()
	defer h.Close()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(point))
	if _, err := client.Register(context.Background(), point.ID, "my-app", 0); err != nil {
		log.Fatal(err)
	}
	stop() // waits until everything is counted
	// Output: register OK
}

// The host of a busy point, with as many streams as the point needs.
func ExampleLimits() {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	rendezvous.Limits(&limits)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rendezvous.ConnLimits(64)...)
	if err != nil {
		log.Fatal(err)
	}
	h, err := libp2p.New(libp2p.ResourceManager(manager), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	fmt.Println("listening:", len(h.Addrs()) > 0)
	// Output: listening: true
}

// A storage by itself, as a point uses it.
func ExampleNewMemoryStorage() {
	ctx := context.Background()
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()

	err := storage.Add(ctx, rendezvous.Record{
		Namespace: "my-app",
		Peer:      "a peer's ID",
		Envelope:  []byte("its signed peer record"),
		Deadline:  time.Now().Add(20 * time.Second),
	}, rendezvous.Quota{PerPeer: 1000, Total: 1_000_000})
	if err != nil {
		log.Fatal(err)
	}
	records, err := storage.Sample(ctx, "my-app", 10, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(records), string(records[0].Peer))
	// Output: 1 a peer's ID
}

// The database that comes with the library, by itself.
func ExampleOpenLevelDB() {
	dir := exampleDir()
	defer os.RemoveAll(dir)

	db, err := rendezvous.OpenLevelDB(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, key := range []string{"fruit/fig", "fruit/apple", "stone"} {
		if err := db.Put([]byte(key), nil); err != nil {
			log.Fatal(err)
		}
	}
	if err := db.Delete([]byte("fruit/fig")); err != nil {
		log.Fatal(err)
	}
	it := db.NewIterator([]byte("fruit/"))
	defer it.Release()
	for it.Next() {
		fmt.Println(string(it.Key()))
	}
	// Output: fruit/apple
}
