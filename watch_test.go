package rendezvous

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// TestWatch: Watch reports the peers that are there, then who joins and who leaves, but
// not the host itself.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 4)
		startPoint(t, hosts[0], testStorage(t))
		point := WithPoints(info(hosts[0]))
		watcher := NewClient(hosts[1], point)
		keep(t, watcher)
		keep(t, NewClient(hosts[2], point))
		time.Sleep(time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		events, err := watcher.Watch(ctx, "n")
		require.NoError(t, err)
		e := <-events
		require.Equal(t, Joined, e.Type)
		require.Equal(t, hosts[2].ID(), e.Peer.ID)
		require.ElementsMatch(t, hosts[2].Addrs(), e.Peer.Addrs)

		time.Sleep(time.Minute) // it has become quiet
		until, leave := context.WithCancel(t.Context())
		states, err := NewClient(hosts[3], point).KeepRegistered(until, "n")
		require.NoError(t, err)
		begun := time.Now()
		e = <-events
		require.Equal(t, Joined, e.Type)
		require.Equal(t, hosts[3].ID(), e.Peer.ID)
		require.LessOrEqual(t, time.Since(begun), maxWatchInterval+time.Second)

		time.Sleep(time.Minute)
		leave()
		for range states { // until it has ended
		}
		begun = time.Now()
		e = <-events
		require.Equal(t, Left, e.Type)
		require.Equal(t, peer.AddrInfo{ID: hosts[3].ID()}, e.Peer)
		require.LessOrEqual(t, time.Since(begun), MaxTTL+2*time.Second)
		cancel()
		for range events {
			require.Fail(t, "nothing else has happened")
		}
	})
}

// visit registers n new peers for one TTL.
func visit(t testing.TB, s Storage, ns string, n int) {
	t.Helper()
	for range n {
		key, id := newKey(t, crypto.Ed25519)
		require.NoError(t, s.Add(t.Context(), Record{
			Namespace: ns,
			Peer:      id,
			Envelope:  seal(t, key, id, addr),
			Deadline:  time.Now().Add(MaxTTL + grace),
		}, Quota{}))
	}
}

// TestWatchSlowReader: a slow reader is told the present. What it missed takes no more
// memory than there are peers.
func TestWatchSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		storage := testStorage(t)
		startPoint(t, hosts[0], storage)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).Watch(ctx, "n")
		require.NoError(t, err)
		for range 20 { // two hundred come and go
			visit(t, storage, "n", 10)
			time.Sleep(30 * time.Second)
		}
		visit(t, storage, "n", 3)
		time.Sleep(10 * time.Second)
		present := make(map[peer.ID]bool)
		for range 3 {
			e := <-events
			require.Equal(t, Joined, e.Type)
			present[e.Peer.ID] = true
		}
		require.Len(t, present, 3, "peers that came and went are not reported")
		time.Sleep(30 * time.Second)
		for range 3 {
			e := <-events
			require.Equal(t, Left, e.Type)
			delete(present, e.Peer.ID)
		}
		require.Empty(t, present)
		cancel()
		for range events { // it ends
		}
	})
}

// TestWatchInterval: points are asked less often while nothing changes.
func TestWatchInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		queries := make(chan struct{}, 1000)
		answer := sending(t, registrations())
		hostilePoint(hosts[0], func(st network.Stream, m *pb.Message) {
			queries <- struct{}{}
			answer(st, m)
		})
		ctx, cancel := context.WithCancel(t.Context())
		events, err := NewClient(hosts[1], WithPoints(info(hosts[0]))).Watch(ctx, "n")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.GreaterOrEqual(t, len(queries), 4)
		time.Sleep(50 * time.Second)
		for len(queries) > 0 {
			<-queries
		}
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, len(queries), 7)
		require.LessOrEqual(t, len(queries), 11)
		cancel()
		for range events { // it ends
		}
	})
}
