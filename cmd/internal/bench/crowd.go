package main

// What connections and streams cost while nobody says anything. The other ends
// are in a process of their own, so as not to be counted.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

const crowdSize = 64

// crowd is what one more of something costs the point's process.
type crowd struct {
	Transport  string  `json:"transport"`
	What       string  `json:"what"`
	Goroutines float64 `json:"goroutines"`
	Bytes      float64 `json:"bytes"` // heap and stacks
}

// steps are what the crowd does, one after the other, when it is told to.
var steps = []struct {
	what string
	open protocol.ID // a stream for each, that stays open after one request
}{
	{what: "idle connection"},
	{what: "kept stream of the echo", open: echoID},
	{what: "kept stream of the point", open: rendezvous.RendezvousID_v001},
}

func measureCrowd(ctx context.Context, transport string) (all []crowd, err error) {
	b := &bed{transport: transport}
	defer b.close()
	p, err := b.newPoint(ctx, openMemory, nil)
	if err != nil {
		return nil, err
	}
	p.echo.set(nil)
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, self, "-crowd", addrs[0].String()) //nolint:gosec // it is this program
	child.Stderr = os.Stderr
	tell, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	hear, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tell.Close(), child.Wait()) }()
	return watchCrowd(transport, tell, bufio.NewReader(hear))
}

// watchCrowd tells the crowd to take each step, and measures when it says that it has.
func watchCrowd(transport string, tell io.Writer, hear *bufio.Reader) ([]crowd, error) {
	var all []crowd
	goroutines, bytes := held()
	for _, step := range steps {
		if _, err := fmt.Fprintln(tell); err != nil {
			return nil, err
		}
		if _, err := hear.ReadString('\n'); err != nil {
			return nil, fmt.Errorf("crowd: %w", err)
		}
		g, b := held()
		all = append(all, crowd{
			Transport: transport, What: step.what,
			Goroutines: math.Round((g-goroutines)/crowdSize*10) / 10,
			Bytes:      math.Round((b - bytes) / crowdSize),
		})
		goroutines, bytes = g, b
	}
	return all, nil
}

// held is how many goroutines there are, and the bytes of heap and stacks in use,
// once what was being done is done.
func held() (goroutines, bytes float64) {
	time.Sleep(time.Second)
	h := heapNow()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(runtime.NumGoroutine()), h + float64(m.StackInuse)
}

// runCrowd is the other process: it takes a step for each line that it reads.
func runCrowd(ctx context.Context, address string) error {
	point, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	hosts := make([]host.Host, crowdSize) // which end with the process
	for i := range hosts {
		if hosts[i], err = libp2p.New(libp2p.NoListenAddrs); err != nil {
			return err
		}
	}
	in := bufio.NewReader(os.Stdin)
	for _, step := range steps {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		err := inParallel(len(hosts), func(i int) error {
			if step.open == "" {
				return hosts[i].Connect(ctx, *point)
			}
			return askAndStay(ctx, hosts[i], point.ID, step.open)
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, step.what)
	}
	_, err = io.Copy(io.Discard, in) // until there is nobody to stay for
	return err
}

func askAndStay(ctx context.Context, h host.Host, point peer.ID, as protocol.ID) error {
	request, err := frame(&pb.Message{
		Type: pb.Message_DISCOVER, Discover: &pb.Message_Discover{Ns: small, Limit: 1},
	})
	if err != nil {
		return err
	}
	r := newRaw(h, point, as)
	if err := r.keep(ctx); err != nil {
		return err
	}
	_, err = r.ask(ctx, request)
	return err
}
