package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestWatchTellsSilence: watch says once that no point answers, and once that one does
// again.
func TestWatchTellsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		r := watchReport{out: &out, errOut: &errOut, printEvent: printEventText}
		var silent atomic.Bool
		events := make(chan rendezvous.Event)
		ended := make(chan error)
		go func() {
			ended <- r.run(events, func() error {
				if silent.Load() {
					return errors.New("connection refused")
				}
				return nil
			})
		}()
		events <- rendezvous.Event{Type: rendezvous.Joined, Peer: peer.AddrInfo{ID: "a peer"}}
		time.Sleep(10 * time.Second)
		silent.Store(true)
		time.Sleep(10 * time.Minute)
		silent.Store(false)
		time.Sleep(10 * time.Second)
		close(events)
		require.NoError(t, <-ended)
		require.Contains(t, out.String(), "+ ")
		require.Regexp(t, `^\S+  no point answers: connection refused\n\S+  a point answers again\n$`, errOut.String())
	})
}

// simulated returns two hosts on a simulated network, for use in a synctest bubble. While cut is
// true, no packet arrives. The race detector needs one processor for it.
func simulated(t *testing.T, cut *atomic.Bool) (host.Host, host.Host) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	sim, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
		{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: 2},
	}, func(*simnet.Packet) time.Duration {
		if cut.Load() {
			return 1000 * time.Hour
		}
		return 10 * time.Millisecond
	}, simlibp2p.NetworkSettings{})
	require.NoError(t, err)
	sim.Start()
	t.Cleanup(func() {
		for _, h := range meta.Nodes {
			require.NoError(t, h.Close())
		}
		sim.Close()
	})
	return meta.Nodes[0], meta.Nodes[1]
}

// TestWatchOfASilentPoint: a point does not answer any more, or is gone. watch says so, with the
// reason, and says when the point answers again. It is not parallel because of the number of
// processors.
func TestWatchOfASilentPoint(t *testing.T) {
	for name, row := range map[string]struct {
		silence func(point host.Host, cut *atomic.Bool, over <-chan struct{})
		reason  string // a regular expression
	}{
		"does not answer": {func(point host.Host, _ *atomic.Bool, over <-chan struct{}) {
			point.SetStreamHandler(rendezvous.RendezvousID_v001, func(st network.Stream) {
				<-over
				_ = st.Reset()
			})
		}, "wait for answer: context deadline exceeded$"},
		"is gone": {func(_ host.Host, cut *atomic.Bool, _ <-chan struct{}) {
			cut.Store(true)
		}, "^cannot reach it: /ip4/|failed to dial: context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cut atomic.Bool
				point, h := simulated(t, &cut)
				storage := rendezvous.NewMemoryStorage()
				defer storage.Close()
				service := rendezvous.NewRendezvousService(point, storage)
				require.NoError(t, service.Start())
				defer service.Stop()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				client := rendezvous.NewClient(h, rendezvous.WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()}))
				events, err := client.Watch(ctx, "news")
				require.NoError(t, err)
				var out, errOut bytes.Buffer
				r := watchReport{out: &out, errOut: &errOut, printEvent: printEventText}
				watching := &clientHost{h, newNameResolver()}
				ended := make(chan error, 1)
				go func() { ended <- r.run(events, func() error { return watching.explain(client.SearchErr()) }) }()
				time.Sleep(time.Minute)

				service.Stop() // otherwise it answers on the streams that the client has kept
				row.silence(point, &cut, ctx.Done())
				begun := time.Now()
				time.Sleep(3 * time.Minute)
				cut.Store(false)
				point.RemoveStreamHandler(rendezvous.RendezvousID_v001)
				require.NoError(t, service.Start())
				time.Sleep(time.Minute)
				cancel()
				require.NoError(t, <-ended)
				require.Empty(t, out.String())
				lines := regexp.MustCompile(`^(\S+)  no point answers: (.+)\n\S+  a point answers again\n$`).FindStringSubmatch(errOut.String())
				require.NotNil(t, lines, errOut.String())
				require.Regexp(t, row.reason, lines[2])
				said, err := time.Parse(time.TimeOnly, lines[1])
				require.NoError(t, err)
				after := said.Sub(said.Truncate(24*time.Hour)) - begun.Sub(begun.Truncate(24*time.Hour))
				require.GreaterOrEqual(t, after, 20*time.Second)
				require.LessOrEqual(t, after, 50*time.Second)
			})
		})
	}
}
