package main

// Memory and goroutines of idle connections and streams. The peers at the other ends, the
// crowd, run in another process, so that they are not counted.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const crowdSize = 64 // peers

// idleCost is what one idle connection or stream costs the process of the point.
type idleCost struct {
	Transport  string  `json:"transport"`
	What       string  `json:"what"`
	Goroutines float64 `json:"goroutines"`
	Bytes      float64 `json:"bytes"` // heap and stacks
}

// crowdSteps are what every peer of the crowd does, step by step.
var crowdSteps = []struct {
	what   string
	stream protocol.ID // to open, send one request on, and keep open; empty: only connect
}{
	{what: "idle connection"},
	{what: "kept stream of the echo", stream: echoID},
	{what: "kept stream of the point", stream: rendezvous.RendezvousID_v001},
}

func measureCrowd(ctx context.Context, transport string) (all []idleCost, err error) {
	b := &testbed{transport: transport}
	defer b.close()
	p, err := b.newPoint(ctx, openMemory, nil)
	if err != nil {
		return nil, err
	}
	p.echo.set(nil)
	crowd, err := startChild(ctx, "-crowd", p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, crowd.stop()) }()
	return measureSteps(transport, crowd)
}

// measureSteps measures this process after each step of the crowd. A line to the crowd
// starts a step, and a line from it ends the step.
func measureSteps(transport string, crowd *child) ([]idleCost, error) {
	var all []idleCost
	goroutines, bytes := settledUsage()
	for _, step := range crowdSteps {
		if _, err := crowd.ask(step.what); err != nil {
			return nil, err
		}
		g, b := settledUsage()
		all = append(all, idleCost{
			Transport: transport, What: step.what,
			Goroutines: math.Round((g-goroutines)/crowdSize*10) / 10,
			Bytes:      math.Round((b - bytes) / crowdSize),
		})
		goroutines, bytes = g, b
	}
	return all, nil
}

// settledUsage returns the number of goroutines, and the bytes of heap and stacks in use.
// Before that, it lets work in the background end.
func settledUsage() (goroutines, bytes float64) {
	time.Sleep(time.Second)
	h := heapInUse()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(runtime.NumGoroutine()), h + float64(m.StackInuse)
}

// runCrowd is the main function of the crowd's process.
func runCrowd(ctx context.Context, address string) error {
	point, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	hosts := make([]host.Host, crowdSize) // not closed: the process ends
	for i := range hosts {
		if hosts[i], err = libp2p.New(libp2p.NoListenAddrs); err != nil {
			return err
		}
	}
	in := bufio.NewReader(os.Stdin)
	for _, step := range crowdSteps {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		err := forEach(len(hosts), func(i int) error {
			if step.stream == "" {
				return hosts[i].Connect(ctx, *point)
			}
			return openStream(ctx, hosts[i], point.ID, step.stream)
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, step.what)
	}
	_, err = io.Copy(io.Discard, in) // stay until the other process is done
	return err
}

// openStream opens a stream, sends a request, and leaves the stream open.
func openStream(ctx context.Context, h host.Host, point peer.ID, id protocol.ID) error {
	request, err := discoverRequest(smallNamespace, 1)
	if err != nil {
		return err
	}
	c := newRawClient(h, point, id)
	if err := c.keepStream(ctx); err != nil {
		return err
	}
	_, err = c.request(ctx, request)
	return err
}
