package main

// The cost of staying registered. The library decides by itself when it refreshes, so this is
// no experiment in which sides take turns of milliseconds: all clients stay registered for some
// seconds, and what that takes is divided by the number of their refreshes. A request costs more in
// a process that is idle most of the time, so the echo that they are compared with is asked as
// often, by as many.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// keptPerHost is the number of library clients on each host. Each has up to ten streams
	// at a time, and a point serves a hundred streams of a peer.
	keptPerHost    = 6
	keptNamespaces = 10 // of each client
	// keptTTL lets refreshes come every one and a half seconds or so, so that they are most
	// of what the process does. What one costs does not depend on it.
	keptTTL = 3 * time.Second
	// keptInterval is about how long after the last refresh the next one comes.
	keptInterval = keptTTL * 21 / 40
	// keptRounds is how many times the echo and the clients take turns: the speed of a machine
	// changes within a minute.
	keptRounds = 5
)

// keptCost is what clients that stay registered cost, both ends together and the point alone.
type keptCost struct {
	Transport  string  `json:"transport"`
	Clients    int     `json:"clients"`
	Namespaces int     `json:"namespaces"` // of each client
	PerSecond  float64 `json:"per_second"` // refreshes
	CPU        float64 `json:"cpu_us"`     // per refresh
	Allocs     float64 `json:"allocs"`
	Bytes      float64 `json:"alloc_bytes"`
	Echo       float64 `json:"echo_cpu_us"` // per request of the same size, over a fresh stream, as often
	// Point is the part of the point's process, per refresh, with the clients in another one.
	Point float64 `json:"point_cpu_us"`
}

// ratio is the CPU ratio.
func (k keptCost) ratio() float64 { return k.Echo / k.CPU }

// requestCounter counts requests.
type requestCounter struct{ answered, failed atomic.Int64 }

// counts returns how many requests were answered and failed so far.
func (c *requestCounter) counts() (answered, failed int64, err error) {
	return c.answered.Load(), c.failed.Load(), nil
}

// add counts a request, unless its context has ended.
func (c *requestCounter) add(err error) {
	switch {
	case err == nil:
		c.answered.Add(1)
	case !errors.Is(err, context.Canceled):
		c.failed.Add(1)
	}
}

// RequestEnded makes the counter a tracer of the library's clients.
func (c *requestCounter) RequestEnded(e rendezvous.RequestEnded) { c.add(e.Err) }

// measureKept measures clients that stay registered at the point in memory, as
// KeepRegistered and Advertise keep them, and an echo that is asked as often. What the process
// takes while it is idle is subtracted from both. It returns the round with the median ratio,
// without the point's share.
func measureKept(ctx context.Context, b *testbed, length time.Duration) (keptCost, error) {
	idle := quietest(func() usage { return usageDuring(length) })
	kept := newKeptClients(b.hosts(), b.memory.addrs())
	rounds := make([]keptCost, keptRounds)
	for i := range rounds {
		var err error
		if rounds[i], err = measureKeptOnce(ctx, b, kept, length, idle); err != nil {
			return keptCost{}, err
		}
	}
	slices.SortFunc(rounds, func(a, b keptCost) int { return cmp.Compare(a.ratio(), b.ratio()) })
	return rounds[keptRounds/2], nil
}

// measureKeptOnce measures the echo and then the clients, for this long each.
func measureKeptOnce(ctx context.Context, b *testbed, kept *keptClients, length time.Duration, idle usage) (keptCost, error) {
	var asked requestCounter
	echo, err := costOf(ctx, length, idle, &asked, func(ctx context.Context) error { return askEcho(ctx, b, &asked) })
	if err != nil {
		return keptCost{}, err
	}
	refreshed, err := costOf(ctx, length, idle, &kept.requests, kept.stayRegistered)
	return keptCost{
		Transport: b.transport, Clients: len(b.clients) * keptPerHost, Namespaces: keptNamespaces,
		PerSecond: refreshed.PerSecond, CPU: round1(refreshed.CPU), Allocs: round1(refreshed.Allocs), Bytes: math.Round(refreshed.Bytes),
		Echo: round1(echo.CPU),
	}, err
}

// costOf starts requests, which end with their context, and measures what one of them costs.
func costOf(ctx context.Context, length time.Duration, idle usage, counter *requestCounter, start func(context.Context) error) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := start(ctx); err != nil {
		return sample{}, err
	}
	return settledCost(ctx, length, idle, counter.counts)
}

// settledCost is costPerRequest of requests that have just been started, once their first round, in
// which more is done, is over.
func settledCost(ctx context.Context, length time.Duration, idle usage, counts func() (answered, failed int64, err error)) (sample, error) {
	select {
	case <-time.After(2 * keptTTL):
		return costPerRequest(length, idle, counts)
	case <-ctx.Done():
		return sample{}, ctx.Err()
	}
}

// costPerRequest measures what the requests that are being sent cost this process, each of them.
func costPerRequest(length time.Duration, idle usage, counts func() (answered, failed int64, err error)) (sample, error) {
	before, _, err := counts()
	if err != nil {
		return sample{}, err
	}
	used := usageDuring(length)
	after, failed, err := counts()
	n := float64(after - before)
	switch {
	case err != nil:
		return sample{}, err
	case failed > 0 || n == 0:
		return sample{}, fmt.Errorf("%d requests failed, and %.0f did not", failed, n)
	}
	return sample{
		PerSecond: math.Round(n / used.elapsed.Seconds()),
		CPU:       microseconds(used.cpu-idle.cpu) / n,
		Allocs:    (float64(used.allocs) - float64(idle.allocs)) / n,
		Bytes:     (float64(used.bytes) - float64(idle.bytes)) / n,
	}, nil
}

// askEcho sends the echo as many requests at a time as a client has namespaces, as often as it
// refreshes them, for each client, until ctx ends.
func askEcho(ctx context.Context, b *testbed, counter *requestCounter) error {
	answer, err := newRawClient(b.clients[0].host, b.memory.host.ID(), rendezvous.RendezvousID_v001).request(ctx, b.clients[0].registerAgain)
	if err != nil {
		return err
	}
	b.memory.echo.set(answer)
	for _, c := range b.clients {
		for range keptPerHost {
			begun := time.After(rand.N(keptInterval))
			come := make(chan struct{})
			go func() { <-begun; close(come) }()
			for range keptNamespaces {
				go askEchoRegularly(ctx, newRawClient(c.host, b.memory.host.ID(), echoID), c.registerAgain, come, counter)
			}
		}
	}
	return nil
}

func askEchoRegularly(ctx context.Context, r *rawClient, frame []byte, from <-chan struct{}, counter *requestCounter) {
	<-from
	ticker := time.NewTicker(keptInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_, err := r.request(ctx, frame)
			if ctx.Err() != nil {
				return
			}
			counter.add(err)
		case <-ctx.Done():
			return
		}
	}
}

// keptClients are the library's clients that stay registered. They are the same ones in all rounds,
// or those of the rounds before would close their streams meanwhile.
type keptClients struct {
	all      []*rendezvous.Client
	requests requestCounter
}

// newKeptClients makes the clients of these hosts.
func newKeptClients(hosts []host.Host, point peer.AddrInfo) *keptClients {
	k := new(keptClients)
	for _, h := range hosts {
		for range keptPerHost {
			k.all = append(k.all, rendezvous.NewClient(h, rendezvous.WithPoints(point), rendezvous.WithClientMetricsTracer(&k.requests)))
		}
	}
	return k
}

// stayRegistered registers all clients and keeps them registered until ctx ends, or for 20 seconds, as
// Advertise does. They begin at different times, as the echo's do, or the process would not be idle
// between their refreshes.
func (k *keptClients) stayRegistered(ctx context.Context) error {
	errs := make([]error, len(k.all))
	var wg sync.WaitGroup
	for i := range k.all {
		wg.Go(func() {
			select {
			case <-time.After(rand.N(keptInterval)):
				errs[i] = k.register(ctx, i)
			case <-ctx.Done():
				errs[i] = ctx.Err()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// register registers a client in all its namespaces.
func (k *keptClients) register(ctx context.Context, i int) error {
	for j := range keptNamespaces {
		if _, err := k.all[i].Advertise(ctx, fmt.Sprintf("bench/kept/%d/%d", i%keptPerHost, j), discovery.TTL(keptTTL)); err != nil {
			return fmt.Errorf("stay registered: %w", err)
		}
	}
	return nil
}

// quietest measures three times, and returns the usage with the least CPU time: that of an idle
// process, even if something that was started before had not ended yet.
func quietest(measure func() usage) usage {
	least := measure()
	for range 2 {
		if u := measure(); u.cpu < least.cpu {
			least = u
		}
	}
	return least
}

// usageDuring returns what the process uses in the given time.
func usageDuring(length time.Duration) (used usage) {
	before := usageNow()
	time.Sleep(length)
	used.add(usageNow(), before)
	return used
}

func round1(f float64) float64 { return math.Round(f*10) / 10 }
