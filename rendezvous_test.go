package rendezvous

// The main job, on real hosts: nodes that know one address find each other.

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/stretchr/testify/require"
)

// TestGossipsub starts twelve gossipsub nodes that know only a point, half of them over
// TCP and half over QUIC. It waits until a message of one has reached the others. Then a
// quarter of the nodes leave, and as many new ones come.
func TestGossipsub(t *testing.T) {
	const most = 5 * time.Minute // on a busy machine
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	both := libp2p.ListenAddrStrings(overTCP, overQUIC)
	point := newHost(t, both)
	startPoint(t, point, testStorage(t))

	const nodes, leaving = 12, 3
	var all []*realNode
	for i := range nodes {
		all = append(all, startRealNode(ctx, t, point, i))
	}
	require.Eventually(t, func() bool { return !slices.ContainsFunc(all, (*realNode).lonely) },
		most, 100*time.Millisecond, "everybody has neighbours")
	publish(ctx, t, all, "hello")

	for i, n := range all[:leaving] {
		require.NoError(t, n.host.Close())
		all = append(all, startRealNode(ctx, t, point, nodes+i))
	}
	all = all[leaving:]
	require.Eventually(t, func() bool { return !slices.ContainsFunc(all, (*realNode).lonely) },
		most, 100*time.Millisecond, "those who came, too")
	publish(ctx, t, all, "hello again")
}

// realNode is a gossipsub node on a real host.
type realNode struct {
	host  host.Host
	topic *pubsub.Topic
	sub   *pubsub.Subscription
}

//nolint:contextcheck // the test's own context is enough to connect
func startRealNode(ctx context.Context, t testing.TB, point host.Host, i int) *realNode {
	t.Helper()
	n := &realNode{host: newHost(t, libp2p.ListenAddrStrings([]string{overTCP, overQUIC}[i%2]))}
	// Either with the point as an option, or with a connection to it like to any other
	// peer.
	var opts []ClientOption
	if i/2%2 == 0 {
		opts = append(opts, WithPoints(info(point)))
	} else {
		connect(t, n.host, point)
	}
	ps, err := pubsub.NewGossipSub(ctx, n.host, pubsub.WithDiscovery(NewRendezvousDiscovery(n.host, opts...)))
	require.NoError(t, err)
	n.topic, err = ps.Join("news")
	require.NoError(t, err)
	n.sub, err = n.topic.Subscribe()
	require.NoError(t, err)
	return n
}

func (n *realNode) lonely() bool { return len(n.topic.ListPeers()) < pubsub.GossipSubDlo }

// publish publishes a text until every node has received it. Messages from before the
// publisher's mesh has formed are lost.
func publish(ctx context.Context, t testing.TB, nodes []*realNode, text string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer cancel()
	publishing.Go(func() {
		for ctx.Err() == nil {
			_ = nodes[0].topic.Publish(ctx, []byte(text)) // if it fails, some node does not receive the text
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
	for i, n := range nodes {
		m, err := n.sub.Next(ctx)
		for err == nil && string(m.GetData()) != text { // a message from before
			m, err = n.sub.Next(ctx)
		}
		require.NoError(t, err, "node %d", i)
	}
}

// TestRestart: a point that restarts on the same database still has all live
// registrations, even if only the service was closed.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	c := NewClient(h)
	const namespaces = 20

	db, err := OpenLevelDB(dir)
	require.NoError(t, err)
	first := NewStorage(db)
	service := NewRendezvousService(point, first)
	require.NoError(t, service.Start())
	for i := range namespaces {
		_, err := c.Register(t.Context(), point.ID(), fmt.Sprint("n", i), 0)
		require.NoError(t, err)
	}
	before, err := c.Discover(t.Context(), point.ID(), "n0", 0)
	require.NoError(t, err)
	service.Stop()
	require.NoError(t, db.Close())    // as at the end of a process: the storage was not closed
	require.NoError(t, first.Close()) // its timer would end with the process

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
		require.LessOrEqual(t, found[0].TTL, before[0].TTL, "a restart extends no registration")
	}
}
