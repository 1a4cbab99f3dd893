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
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
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

// keptCost is what clients that stay registered cost, both ends together.
type keptCost struct {
	Transport  string  `json:"transport"`
	Clients    int     `json:"clients"`
	Namespaces int     `json:"namespaces"` // of each client
	PerSecond  float64 `json:"per_second"` // refreshes
	CPU        float64 `json:"cpu_us"`     // per refresh
	Allocs     float64 `json:"allocs"`
	Bytes      float64 `json:"alloc_bytes"`
	Echo       float64 `json:"echo_cpu_us"` // per request of the same size, over a fresh stream, as often
}

// ratio is the CPU ratio.
func (k keptCost) ratio() float64 { return k.Echo / k.CPU }

// requestCounter counts requests.
type requestCounter struct{ answered, failed atomic.Int64 }

func (c *requestCounter) add(err error) {
	if err != nil {
		c.failed.Add(1)
	} else {
		c.answered.Add(1)
	}
}

// RequestEnded makes the counter a tracer of the library's clients.
func (c *requestCounter) RequestEnded(e rendezvous.RequestEnded) { c.add(e.Err) }

// measureKept measures clients that stay registered at the point in memory, as
// KeepRegistered and Advertise keep them, and an echo that is asked as often. What the process
// takes while it is idle is subtracted from both. It returns the round with the median ratio.
func measureKept(ctx context.Context, b *testbed, length time.Duration) (keptCost, error) {
	idle := usageDuring(length)
	rounds := make([]keptCost, keptRounds)
	for i := range rounds {
		var err error
		if rounds[i], err = measureKeptOnce(ctx, b, length, idle); err != nil {
			return keptCost{}, err
		}
	}
	slices.SortFunc(rounds, func(a, b keptCost) int { return cmp.Compare(a.ratio(), b.ratio()) })
	return rounds[keptRounds/2], nil
}

// measureKeptOnce measures the echo and then the clients, for this long each.
func measureKeptOnce(ctx context.Context, b *testbed, length time.Duration, idle usage) (keptCost, error) {
	echo, err := costOf(ctx, length, idle, func(ctx context.Context, c *requestCounter) error { return askEcho(ctx, b, c) })
	if err != nil {
		return keptCost{}, err
	}
	kept, err := costOf(ctx, length, idle, func(ctx context.Context, c *requestCounter) error { return keepRegistered(ctx, b, c) })
	return keptCost{
		Transport: b.transport, Clients: len(b.clients) * keptPerHost, Namespaces: keptNamespaces,
		PerSecond: kept.PerSecond, CPU: round1(kept.CPU), Allocs: round1(kept.Allocs), Bytes: math.Round(kept.Bytes),
		Echo: round1(echo.CPU),
	}, err
}

// costOf starts requests, which end with their context, and measures what one of them costs.
func costOf(ctx context.Context, length time.Duration, idle usage, start func(context.Context, *requestCounter) error) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var counter requestCounter
	if err := start(ctx, &counter); err != nil {
		return sample{}, err
	}
	time.Sleep(keptTTL) // for about two refreshes
	before := counter.answered.Load()
	used := usageDuring(length)
	n := float64(counter.answered.Load() - before)
	if failed := counter.failed.Load(); failed > 0 || n == 0 {
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

// keepRegistered registers all clients and keeps them registered until ctx ends.
func keepRegistered(ctx context.Context, b *testbed, counter *requestCounter) error {
	point := peer.AddrInfo{ID: b.memory.host.ID(), Addrs: b.memory.host.Addrs()}
	return forEach(len(b.clients), func(i int) error {
		for n := range keptPerHost {
			c := rendezvous.NewClient(b.clients[i].host, rendezvous.WithPoints(point), rendezvous.WithClientMetricsTracer(counter))
			for j := range keptNamespaces {
				if _, err := c.Advertise(ctx, fmt.Sprintf("bench/kept/%d/%d", n, j), discovery.TTL(keptTTL)); err != nil {
					return errors.Join(errors.New("stay registered"), err)
				}
			}
		}
		return nil
	})
}

// usageDuring returns what the process uses in the given time.
func usageDuring(length time.Duration) (used usage) {
	before := usageNow()
	time.Sleep(length)
	used.add(usageNow(), before)
	return used
}

func round1(f float64) float64 { return math.Round(f*10) / 10 }
