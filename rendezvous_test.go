package rendezvous

// The main job, on real hosts: nodes that know one address find each other.

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/stretchr/testify/require"
)

// TestGossipsub starts twenty gossipsub nodes that know nothing but a point, over
// TCP and QUIC, and waits until a message of the first has reached the others.
func TestGossipsub(t *testing.T) {
	for name, listen := range map[string]string{"TCP": overTCP, "QUIC": overQUIC} {
		t.Run(name, func(t *testing.T) {
			point := newHost(t, libp2p.ListenAddrStrings(listen))
			startPoint(t, point, testStorage(t))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			const nodes = 20
			var topics []*pubsub.Topic
			var subs []*pubsub.Subscription
			for range nodes {
				h := newHost(t, libp2p.ListenAddrStrings(listen))
				// With the point named, or met like any other peer.
				var opts []ClientOption
				if len(topics)%2 == 0 {
					opts = append(opts, WithPoints(info(point)))
				} else {
					connect(t, h, point)
				}
				ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(NewRendezvousDiscovery(h, opts...)))
				require.NoError(t, err)
				topic, err := ps.Join("news")
				require.NoError(t, err)
				sub, err := topic.Subscribe()
				require.NoError(t, err)
				topics, subs = append(topics, topic), append(subs, sub)
			}
			require.Eventually(t, func() bool {
				for _, topic := range topics {
					if len(topic.ListPeers()) < pubsub.GossipSubDlo {
						return false
					}
				}
				return true
			}, 50*time.Second, 100*time.Millisecond, "everybody has neighbours")

			// What is published before the publisher's mesh has formed is lost: say it
			// until everyone has heard it.
			var publishing sync.WaitGroup
			defer publishing.Wait()
			defer cancel()
			publishing.Go(func() {
				for ctx.Err() == nil {
					_ = topics[0].Publish(ctx, []byte("hello"))
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
				}
			})
			for i, sub := range subs {
				m, err := sub.Next(ctx)
				require.NoError(t, err, "node %d", i)
				require.Equal(t, "hello", string(m.GetData()))
			}
		})
	}
}

// TestRestart: a point that is started again on the same database still knows who
// is alive, also when nobody closed anything but the service.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	c := NewClient(h)
	const namespaces = 20

	db, err := OpenLevelDB(dir)
	require.NoError(t, err)
	service := NewRendezvousService(point, NewStorage(db))
	require.NoError(t, service.Start())
	for i := range namespaces {
		_, err := c.Register(t.Context(), point.ID(), fmt.Sprint("n", i), 0)
		require.NoError(t, err)
	}
	before, err := c.Discover(t.Context(), point.ID(), "n0", 0)
	require.NoError(t, err)
	service.Stop()
	require.NoError(t, db.Close()) // as the end of a process does; its storage was not closed

	db, err = OpenLevelDB(dir)
	require.NoError(t, err)
	defer db.Close()
	storage := NewStorage(db)
	defer storage.Close()
	service = NewRendezvousService(point, storage)
	require.NoError(t, service.Start())
	defer service.Stop()
	for i := range namespaces {
		found, err := c.Discover(t.Context(), point.ID(), fmt.Sprint("n", i), 0)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, before[0].Peer, found[0].Peer)
		require.LessOrEqual(t, found[0].TTL, before[0].TTL, "a restart gives nobody more time")
	}
}
