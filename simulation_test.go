package rendezvous

// Simulations in virtual time. Their figures are in docs/findability.md:
//
//	make simulate TESTFLAGS=-v
//
// Under the race detector, which makes them ten times slower, many are smaller or shorter.
// CI runs them both ways: make test, and in full make simulate.

import (
	"bufio"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// simulation is a network of real hosts, in a synctest bubble.
type simulation struct {
	hosts []host.Host
	net   *simnet.Simnet

	mu        sync.Mutex
	unplugged map[string]bool    // IP addresses that are cut off from the network
	apart     map[[2]string]bool // pairs of IP addresses without a path between them
}

// oneProcessor runs the test on one processor. On several, the race detector of Go 1.26
// crashes in a synctest bubble: a goroutine that looks at the channel of a due timer runs
// the timer itself, under one identity for the whole bubble
// (runtime.(*timer).unlockAndRun). Two at the same time crash the detector.
func oneProcessor(t testing.TB) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// newSimulation connects n hosts by links of 100 Mbit/s. A packet takes latency each way.
func newSimulation(t testing.TB, n int, latency time.Duration) *simulation {
	t.Helper()
	oneProcessor(t)
	s := &simulation{unplugged: make(map[string]bool), apart: make(map[[2]string]bool)}
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	sim, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
		{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: n},
	}, func(p *simnet.Packet) time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.unplugged[ip(p.From)] || s.unplugged[ip(p.To)] || s.apart[[2]string{ip(p.From), ip(p.To)}] {
			return 1000 * time.Hour
		}
		return latency
	}, simlibp2p.NetworkSettings{})
	require.NoError(t, err)
	sim.Start()
	t.Cleanup(func() {
		for _, h := range meta.Nodes {
			require.NoError(t, h.Close())
		}
		sim.Close()
	})
	s.hosts, s.net = meta.Nodes, sim
	return s
}

// scaled returns the size or length of a simulation: full, or small under the race detector.
func scaled[T any](full, small T) T {
	if raceDetector {
		return small
	}
	return full
}

func ip(a net.Addr) string { return a.(*net.UDPAddr).IP.String() }

// unplug cuts host i off without telling anybody, or connects it again.
func (s *simulation) unplug(i int, off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unplugged[simnet.IntToPublicIPv4(i).String()] = off
}

// separate lets no packet pass between hosts i and j.
func (s *simulation) separate(i, j int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, b := simnet.IntToPublicIPv4(i).String(), simnet.IntToPublicIPv4(j).String()
	s.apart[[2]string{a, b}], s.apart[[2]string{b, a}] = true, true
}

const simTopic = "news"

// gossipNode is a gossipsub node and the peers in its mesh.
type gossipNode struct {
	host  host.Host
	topic *pubsub.Topic
	sub   *pubsub.Subscription

	mu   sync.Mutex
	mesh map[peer.ID]struct{}
}

// few makes each search ask for few peers because connections are the largest cost of a
// simulation.
var few = pubsub.WithDiscoveryOpts(discovery.Limit(pubsub.GossipSubD))

// startGossip starts gossipsub on h until ctx ends.
func startGossip(ctx context.Context, t testing.TB, h host.Host, points ...peer.AddrInfo) *gossipNode {
	t.Helper()
	return startGossipOver(ctx, t, h, NewRendezvousDiscovery(h, WithPoints(points...)), few)
}

// startGossipOver starts a node that finds the others through d.
func startGossipOver(ctx context.Context, t testing.TB, h host.Host, d discovery.Discovery, opts ...pubsub.DiscoverOpt) *gossipNode {
	t.Helper()
	n := &gossipNode{host: h, mesh: make(map[peer.ID]struct{})}
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(d, opts...), pubsub.WithEventTracer(n))
	require.NoError(t, err)
	n.topic, err = ps.Join(simTopic)
	require.NoError(t, err)
	n.sub, err = n.topic.Subscribe()
	require.NoError(t, err)
	return n
}

// Trace implements [pubsub.EventTracer].
func (n *gossipNode) Trace(e *pubsubpb.TraceEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch e.GetType() {
	case pubsubpb.TraceEvent_GRAFT:
		n.mesh[peer.ID(e.GetGraft().GetPeerID())] = struct{}{}
	case pubsubpb.TraceEvent_PRUNE:
		delete(n.mesh, peer.ID(e.GetPrune().GetPeerID()))
	case pubsubpb.TraceEvent_ON_CLOSED_OUTBOUND_STREAM:
		delete(n.mesh, peer.ID(e.GetOnClosedOutboundStream().GetPeerID()))
	}
}

func (n *gossipNode) neighbours() []peer.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []peer.ID
	for id := range n.mesh {
		ids = append(ids, id)
	}
	return ids
}

// reached returns how many nodes the mesh connects to the first.
func reached(nodes []*gossipNode) int {
	byID := make(map[peer.ID]*gossipNode)
	for _, n := range nodes {
		byID[n.host.ID()] = n
	}
	seen := map[peer.ID]bool{nodes[0].host.ID(): true}
	for next := []*gossipNode{nodes[0]}; len(next) > 0; next = next[1:] {
		for _, id := range next[0].neighbours() {
			if n := byID[id]; n != nil && !seen[id] {
				seen[id] = true
				next = append(next, n)
			}
		}
	}
	return len(seen)
}

// TestSimulationMesh: up to two hundred gossipsub nodes know one point and nothing else. Each
// has a mesh within five seconds.
func TestSimulationMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := scaled(200, 50)
		// Handshakes and the collection of their garbage take most of the time.
		defer debug.SetGCPercent(debug.SetGCPercent(400))
		sim := newSimulation(t, 1+nodes, 100*time.Millisecond)
		startPoint(t, sim.hosts[0], testStorage(t))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun := time.Now()
		var all []*gossipNode
		for _, h := range sim.hosts[1:] {
			all = append(all, startGossip(ctx, t, h, info(sim.hosts[0])))
		}
		thin := func(n *gossipNode) bool { return len(n.neighbours()) < pubsub.GossipSubDlo }
		for slices.ContainsFunc(all, thin) && time.Since(begun) < time.Minute {
			time.Sleep(50 * time.Millisecond)
		}
		took := time.Since(begun)
		t.Logf("%d nodes: the last has a mesh of %d after %v", nodes, pubsub.GossipSubDlo, took)
		require.LessOrEqual(t, took, 5*time.Second)
	})
}

// TestSimulationPointsDie: the first of three points is cut off, then the second. One
// comes back without its registrations.
func TestSimulationPointsDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const points = 3
		nodes := scaled(24, 12)
		sim := newSimulation(t, points+nodes, 50*time.Millisecond)
		var infos []peer.AddrInfo
		var ids []peer.ID
		storages := make(map[peer.ID]Storage)
		services := make(map[peer.ID]*RendezvousService)
		index := make(map[peer.ID]int)
		for i, h := range sim.hosts[:points] {
			storages[h.ID()] = testStorage(t)
			services[h.ID()] = startPoint(t, h, storages[h.ID()])
			index[h.ID()] = i
			ids, infos = append(ids, h.ID()), append(infos, info(h))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all []*gossipNode
		for _, h := range sim.hosts[points:] {
			all = append(all, startGossip(ctx, t, h, infos...))
		}
		const ns = "floodsub:" + simTopic // the namespace that gossipsub uses
		ranked := rankPoints(slices.Clone(ids), ns)

		var longest time.Duration
		absent := make(map[peer.ID]time.Time) // since when no reachable point has a node
		up := map[peer.ID]bool{ranked[0]: true, ranked[1]: true, ranked[2]: true}
		watch := func(d time.Duration) {
			const step = 500 * time.Millisecond
			for range d / step {
				time.Sleep(step)
				held := make(map[peer.ID]bool)
				for id := range up {
					records, err := storages[id].Sample(ctx, ns, MaxDiscoverLimit, 0)
					require.NoError(t, err)
					for _, r := range records {
						held[r.Peer] = true
					}
				}
				for _, n := range all {
					id := n.host.ID()
					if held[id] {
						delete(absent, id)
					} else if since, is := absent[id]; is {
						longest = max(longest, time.Since(since))
					} else {
						absent[id] = time.Now()
					}
				}
				require.Equal(t, nodes, reached(all), "the mesh has fallen apart")
			}
		}
		time.Sleep(5 * time.Second)
		watch(15 * time.Second)
		sim.unplug(index[ranked[0]], true)
		delete(up, ranked[0])
		watch(40 * time.Second)
		sim.unplug(index[ranked[1]], true)
		delete(up, ranked[1])
		watch(40 * time.Second)
		t.Logf("two of three points gone: a node was registered nowhere for at most %v", longest)

		services[ranked[0]].Stop()
		storages[ranked[0]] = testStorage(t)
		startPoint(t, sim.hosts[index[ranked[0]]], storages[ranked[0]])
		sim.unplug(index[ranked[0]], false)
		back := time.Now()
		missing := func() bool {
			records, err := storages[ranked[0]].Sample(ctx, ns, MaxDiscoverLimit, 0)
			require.NoError(t, err)
			return len(records) < nodes
		}
		for missing() && time.Since(back) < time.Minute {
			watch(500 * time.Millisecond)
		}
		t.Logf("a point came back: everyone is registered there again after %v", time.Since(back))
		require.LessOrEqual(t, time.Since(back), 15*time.Second)
		up[ranked[0]] = true
		watch(20 * time.Second)
		require.LessOrEqual(t, longest, 3*time.Second)

		require.NoError(t, all[0].topic.Publish(ctx, []byte("hello")))
		for _, n := range all {
			m, err := n.sub.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, "hello", string(m.GetData()))
		}
	})
}

// hostilePoints break the protocol in every way that a point can, or lie well. The peers of
// madeUp are signed and do not exist.
func hostilePoints(t testing.TB, madeUp []wire.Found, over <-chan struct{}) []func(network.Stream, *pb.Message) {
	t.Helper()
	junk := make([]byte, wire.Waku.MaxAnswer)
	_, _ = rand.NewChaCha8([32]byte{}).Read(junk)
	registration := make([]byte, 64)
	junkBytes := sendingBytes(slices.Concat([]byte("\xff\xff\xff\x01"), junk[:wire.Waku.MaxAnswer-4]))
	junkRegistrations := sending(t, registrations(slices.Repeat([][]byte{registration}, 40_000)...))
	return []func(network.Stream, *pb.Message){
		func(network.Stream, *pb.Message) { <-over }, // never answers
		sendingBytes([]byte("\x04\xff\xff\xff\xff")), // garbage
		func(st network.Stream, m *pb.Message) { // stores nothing, makes peers up, and lies about TTLs
			ttl := func() int64 { return []int64{0, -1, math.MinInt64, math.MaxInt64}[rand.N(4)] }
			if m.GetType() == pb.Message_REGISTER {
				sending(t, &pb.Message{Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: &pb.Message_RegisterResponse{Ttl: ttl()}})(st, m)
				return
			}
			answer := registrations()
			for _, i := range rand.Perm(len(madeUp))[:grantLimit(m.GetDiscover().GetLimit(), len(madeUp))] {
				r := &pb.Message_Register{Ns: madeUp[i].Namespace, SignedPeerRecord: madeUp[i].Envelope, Ttl: ttl()}
				answer.DiscoverResponse.Registrations = append(answer.DiscoverResponse.Registrations, r)
			}
			sending(t, answer)(st, m)
		},
		func(st network.Stream, m *pb.Message) { // 4 MiB of junk, as bytes or as registrations
			if m.GetType() == pb.Message_REGISTER {
				junkBytes(st, m)
			} else {
				junkRegistrations(st, m)
			}
		},
	}
}

// TestSimulationHostilePoints: one point is honest and four are hostile, whichever of them the
// namespace prefers, and also if it prefers the silent one and the one that makes peers up.
func TestSimulationHostilePoints(t *testing.T) {
	shuffled := func(ids []peer.ID) []peer.ID {
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		return ids
	}
	t.Run("any ranks", func(t *testing.T) { testHostilePoints(t, shuffled) })
	t.Run("worst ranks", func(t *testing.T) {
		testHostilePoints(t, func(ranked []peer.ID) []peer.ID {
			first, others := shuffled(ranked[:2]), shuffled(ranked[2:])
			return []peer.ID{others[0], first[0], others[1], first[1], others[2]}
		})
	})
}

// testHostilePoints gives the points roles. choose is called with their IDs, the best first. The
// first one that it returns is the honest one, and the others are hostile, in the order of
// hostilePoints.
func testHostilePoints(t *testing.T, choose func([]peer.ID) []peer.ID) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		nodes := scaled(10, 5)
		over := make(chan struct{})
		defer close(over)
		hostile := hostilePoints(t, madeUpPeers(t, "n", scaled(1000, 100)), over)
		sim := newSimulation(t, 1+len(hostile)+nodes, 50*time.Millisecond)
		byID := make(map[peer.ID]host.Host)
		var infos []peer.AddrInfo
		var ids []peer.ID
		for _, h := range sim.hosts[:1+len(hostile)] {
			byID[h.ID()], infos, ids = h, append(infos, info(h)), append(ids, h.ID())
		}
		ranked := rankPoints(ids, "n")
		roles := choose(slices.Clone(ranked))
		startPoint(t, byID[roles[0]], testStorage(t))
		for i, answer := range hostile {
			hostilePoint(byID[roles[1+i]], answer)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		finders := startFinders(ctx, t, sim.hosts[1+len(hostile):], "n", infos...)
		time.Sleep(20 * time.Second)
		before := heap()
		found := finders.sample(t, time.Second, scaled(3*time.Minute, time.Minute))
		grown := heap() - before
		ranks := make([]string, 0, len(roles))
		for _, id := range ranked {
			ranks = append(ranks, []string{"honest", "silent", "garbage", "lying", "junk"}[slices.Index(roles, id)])
		}
		t.Logf("points that rank %v: found in at least %.2f %% of searches; memory grew by %d KiB", ranks, 100*found, grown>>10)
		require.GreaterOrEqual(t, found, 0.999)
		require.Positive(t, finders.strangers, "a point has made peers up")
		require.Less(t, grown, int64(32<<20))
	})
}

// heap returns how many bytes are held: the least that is in use at several moments, because
// the hostile points of a simulation are in the same process, with what they are sending.
func heap() int64 {
	least := int64(math.MaxInt64)
	for range 5 {
		time.Sleep(1700 * time.Millisecond)
		runtime.GC()
		runtime.GC() // which frees what pools have
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, int64(m.HeapAlloc))
	}
	return least
}

// finders are peers that stay registered and search for each other.
type finders struct {
	hosts     []host.Host
	found     []discovery.Discovery
	strangers int // found, but none of hosts
}

func startFinders(ctx context.Context, t testing.TB, hosts []host.Host, ns string, points ...peer.AddrInfo) *finders {
	t.Helper()
	f := &finders{hosts: hosts}
	for _, h := range hosts {
		states, err := NewClient(h, WithPoints(points...)).KeepRegistered(ctx, ns)
		require.NoError(t, err)
		t.Cleanup(func() {
			for range states { // until all its goroutines have ended
			}
		})
		f.found = append(f.found, NewRendezvousDiscovery(h, WithPoints(points...)))
	}
	return f
}

// sample has every peer search once in each interval. It returns the share of
// searches in which the peer that was found least often was found.
func (f *finders) sample(t testing.TB, interval, duration time.Duration) float64 {
	t.Helper()
	var mu sync.Mutex
	found := make(map[peer.ID]int)
	searches := 0
	for begun := time.Now(); time.Since(begun) < duration; searches++ {
		time.Sleep(interval)
		var running sync.WaitGroup
		for _, d := range f.found {
			running.Go(func() {
				peers, err := d.FindPeers(t.Context(), "n")
				if err != nil {
					return
				}
				for p := range peers {
					mu.Lock()
					found[p.ID]++
					mu.Unlock()
				}
			})
		}
		running.Wait()
	}
	least := math.MaxInt
	for _, h := range f.hosts {
		least = min(least, found[h.ID()])
	}
	f.strangers = len(found) - len(f.hosts)
	return float64(least) / float64(searches*(len(f.hosts)-1))
}

// flakyHost is a host whose requests fail three times in ten: it cannot reach the point,
// the point does not answer, or the answer is lost.
type flakyHost struct {
	host.Host
	requests, failed *atomic.Int64
}

var errFlaky = errors.New("no luck")

func (h *flakyHost) NewStream(ctx context.Context, to peer.ID, ids ...protocol.ID) (network.Stream, error) {
	st, err := h.Host.NewStream(ctx, to, ids...)
	if err != nil {
		return nil, err
	}
	return &flakyStream{Stream: st, host: h}, nil
}

// flakyStream is a stream on which three of ten requests fail: one cannot be sent, one
// does not arrive, and one loses its answer.
type flakyStream struct {
	network.Stream
	host *flakyHost
	deaf bool // the answer to the last request is lost
}

func (s *flakyStream) Write(p []byte) (int, error) {
	s.host.requests.Add(1)
	luck := rand.Float64()
	if luck < 0.3 {
		s.host.failed.Add(1)
	}
	switch {
	case luck < 0.1:
		return 0, errFlaky
	case luck < 0.2:
		return len(p), nil
	}
	s.deaf = luck < 0.3
	return s.Stream.Write(p)
}

func (s *flakyStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if s.deaf {
		return 0, errFlaky
	}
	return n, err
}

// TestSimulationFailingRequests: three of ten requests fail, for as long as an hour.
func TestSimulationFailingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const points, nodes = 3, 5
		sim := newSimulation(t, points+nodes, 50*time.Millisecond)
		var infos []peer.AddrInfo
		for _, h := range sim.hosts[:points] {
			startPoint(t, h, testStorage(t))
			infos = append(infos, info(h))
		}
		var requests, failed atomic.Int64
		var flaky []host.Host
		for _, h := range sim.hosts[points:] {
			flaky = append(flaky, &flakyHost{h, &requests, &failed})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		finders := startFinders(ctx, t, flaky, "n", infos...)
		time.Sleep(MaxTTL)
		found := finders.sample(t, 3*time.Second, scaled(time.Hour, 10*time.Minute))
		share := float64(failed.Load()) / float64(requests.Load())
		t.Logf("%.1f %% of %d requests failed: found in at least %.2f %% of searches", 100*share, requests.Load(), 100*found)
		require.InDelta(t, 0.3, share, 0.05)
		// A request that does not arrive takes five seconds, because the connection works. Three in
		// a row are longer than a registration has left when it is refreshed.
		require.GreaterOrEqual(t, found, scaled(0.994, 0.985))
	})
}

// nobody is the number of an address of a simulation that no host has.
const nobody = 10_000

// madeUpPeers returns registrations of peers that do not exist, validly signed. All their
// addresses are those of nobody.
func madeUpPeers(t testing.TB, ns string, n int) (all []wire.Found) {
	t.Helper()
	for i := range n {
		key, id := newKey(t, crypto.Ed25519)
		at := "/ip4/" + simnet.IntToPublicIPv4(nobody).String() + "/udp/" + strconv.Itoa(1+i) + "/quic-v1"
		all = append(all, wire.Found{Namespace: ns, Envelope: seal(t, key, id, at), TTL: 20})
	}
	return all
}

// lyingPoint answers at once, in each protocol and with as many peers as it is asked for, so
// that nothing but the peers is wrong. It takes them from all at random. In 1.0.0 there is always
// another page. It stores nothing.
func lyingPoint(h host.Host, all []wire.Found) {
	for _, d := range []*wire.Dialect{wire.Waku, wire.Standard} {
		h.SetStreamHandler(d.ID, func(st network.Stream) {
			defer func() { _ = st.Reset() }()
			var pages int
			for r := bufio.NewReader(st); ; {
				frame, err := wire.ReadFrame(r, nil, d.MaxRequest)
				var request wire.Request
				if err != nil || d.ParseRequest(&request, frame) != nil {
					return
				}
				switch request.Kind {
				case wire.Register:
					_, err = st.Write(d.AppendRegistered(nil, 20))
				case wire.Discover:
					var some []wire.Found
					for _, i := range rand.Perm(len(all))[:grantLimit(request.Discover.Limit, len(all))] {
						some = append(some, all[i])
					}
					pages++
					_, err = d.WriteFound(st, make([]byte, 64<<10), some, []byte(strconv.Itoa(pages)))
				default:
				}
				if err != nil {
					return
				}
			}
		})
	}
}

// slowHost is a host whose handlers receive each request late.
type slowHost struct {
	host.Host
	delay time.Duration
}

func (h *slowHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(st network.Stream) { handler(&slowStream{st, h.delay}) })
}

type slowStream struct {
	network.Stream
	delay time.Duration
}

func (s *slowStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 {
		time.Sleep(s.delay)
	}
	return n, err
}

// searchOrder records which points have answered the searches of a client, in their order.
type searchOrder struct {
	mu       sync.Mutex
	answered []peer.ID
}

func (o *searchOrder) RequestEnded(e RequestEnded) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.Type == RequestDiscover && e.Err == nil {
		o.answered = append(o.answered, e.Point)
	}
}

// take returns the points since the last call.
func (o *searchOrder) take() []peer.ID {
	o.mu.Lock()
	defer o.mu.Unlock()
	answered := o.answered
	o.answered = nil
	return answered
}

// lyingFirst requires that both points have answered the last search, and that the one that
// lies was done before the honest one had answered.
func (o *searchOrder) lyingFirst(t testing.TB, lying, honest peer.ID) {
	t.Helper()
	answered := o.take()
	require.Contains(t, answered, lying)
	first := slices.Index(answered, honest)
	require.Positive(t, first)
	require.NotContains(t, answered[first:], lying)
}

// honestDelay is how much later than a lying point an honest one answers.
const honestDelay = 200 * time.Millisecond

// TestSimulationLyingPoint: a point that answers before the honest one hands out a thousand
// peers that do not exist. Each search still finds honest peers.
func TestSimulationLyingPoint(t *testing.T) {
	madeUp := madeUpPeers(t, "n", scaled(1000, 100))
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 5*time.Millisecond)
			liar, point := sim.hosts[0], sim.hosts[1]
			storage := testStorage(t)
			startPoint(t, &slowHost{point, honestDelay}, storage, p.serve...)
			lyingPoint(liar, madeUp)
			sim.unplug(nobody, true)
			honest := make(map[peer.ID]bool)
			for _, id := range fill(t, storage, "n", 30) {
				honest[id] = true
			}
			order := new(searchOrder)
			d := NewClient(sim.hosts[2], WithPoints(info(liar), info(point)), p.speak, WithClientMetricsTracer(order))
			for _, limit := range []int{2, 10, 50} {
				for range scaled(16, 4) {
					found := 0
					for _, id := range drain(t, d, "n", discovery.Limit(limit)) {
						if honest[id] {
							found++
						}
					}
					order.lyingFirst(t, liar.ID(), point.ID())
					require.GreaterOrEqual(t, found, min(limit/2, 25))
					time.Sleep(maxSearchInterval)
				}
			}
		})
	})
}

// TestSimulationLyingPointMesh: gossipsub nodes form a mesh although one of their
// points answers before the honest one, with peers that do not exist.
func TestSimulationLyingPointMesh(t *testing.T) {
	madeUp := madeUpPeers(t, "floodsub:"+simTopic, scaled(1000, 100))
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			nodes := scaled(10, 5)
			sim := newSimulation(t, 2+nodes, 10*time.Millisecond)
			liar, point := sim.hosts[0], sim.hosts[1]
			startPoint(t, &slowHost{point, honestDelay}, testStorage(t), p.serve...)
			lyingPoint(liar, madeUp)
			sim.unplug(nobody, true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var all []*gossipNode
			var orders []*searchOrder
			for _, h := range sim.hosts[2:] {
				order := new(searchOrder)
				orders = append(orders, order)
				c := NewClient(h, WithPoints(info(liar), info(point)), p.speak, WithClientMetricsTracer(order))
				all = append(all, startGossipOver(ctx, t, h, c, few))
			}
			begun := time.Now()
			for reached(all) < nodes && time.Since(begun) < time.Minute {
				time.Sleep(100 * time.Millisecond)
			}
			took := time.Since(begun)
			t.Logf("%d nodes beside a point that makes peers up: one mesh after %v", nodes, took)
			for _, order := range orders {
				require.Equal(t, liar.ID(), order.take()[0])
			}
			require.LessOrEqual(t, took, 10*time.Second)
		})
	})
}

// TestSimulationGreedyPoint: a point that again and again invents a thousand peers with 64
// addresses each, registered for as long as the protocol allows, uses a bounded part of the
// memory of searches and of Watch. Nothing gets into the peerstore, and the host can still dial
// an honest point.
func TestSimulationGreedyPoint(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 4, 10*time.Millisecond)
			rec := peer.NewPeerRecord()
			for i := range 64 {
				rec.Addrs = append(rec.Addrs, ma.StringCast("/ip4/192.0.2.1/tcp/"+strconv.Itoa(1+i)))
			}
			var answered atomic.Int64
			greedyPoint(sim.hosts[0], func() wire.Found {
				key, id := newKey(t, crypto.Ed25519)
				invented := *rec
				invented.PeerID = id
				return wire.Found{Namespace: "n", Envelope: sealRecord(t, key, &invented), TTL: int32(MaxStandardTTL / time.Second)}
			}, &answered)
			startPoint(t, sim.hosts[2], testStorage(t), p.serve...)
			keep(t, p.client(sim.hosts[3], info(sim.hosts[2])))
			h := sim.hosts[1]
			c := p.client(h, info(sim.hosts[0]))
			drain(t, c, "n", discovery.Limit(1))
			before, known := heap(), len(h.Peerstore().Peers())
			answers := int64(scaled(18, 3))
			for most := 0; answered.Load() < 1+answers; {
				time.Sleep(maxSearchInterval)
				most = max(most, len(drain(t, c, "n", discovery.Limit(MaxDiscoverLimit))))
				require.Greater(t, most, MaxDiscoverLimit/2)
			}
			grown := heap() - before
			t.Logf("%d answers with 1000 made-up peers of 64 addresses each: memory grew by %d KiB", answers, grown>>10)
			require.Less(t, grown, int64(8<<20))

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := c.Watch(ctx, "n")
			require.NoError(t, err)
			told := newTold(t, events)
			for until := answered.Load() + answers; answered.Load() < until; time.Sleep(time.Second) {
				told.read()
			}
			watched := told.peers()
			told.addrs = nil // the test's own memory
			grown = heap() - before
			t.Logf("as many for Watch, which tells of %d peers: memory grew by %d KiB", watched, grown>>10)
			require.Less(t, grown, int64(12<<20)) // with what the reader was told, which outlives the sightings
			require.Len(t, h.Peerstore().Peers(), known)
			cancel()
			for range events { // it ends
			}
			require.NoError(t, c.SetPoints(info(sim.hosts[2])))
			require.Equal(t, []peer.ID{sim.hosts[3].ID()}, drain(t, c, "n"), "the honest point is dialled, and nobody else is found")
			runtime.KeepAlive(c)
		})
	})
}

// TestSimulationBrokenConnection: two gossipsub nodes, set up as in the README, are connected
// for minutes. When the connection breaks, they soon connect again.
func TestSimulationBrokenConnection(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 3, 20*time.Millisecond)
			startPoint(t, sim.hosts[0], testStorage(t), p.serve...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			nodes := []*gossipNode{startGossipOver(ctx, t, sim.hosts[1], p.client(sim.hosts[1], info(sim.hosts[0]))), startGossipOver(ctx, t, sim.hosts[2], p.client(sim.hosts[2], info(sim.hosts[0])))}
			for range 3 {
				time.Sleep(5 * time.Minute)
				require.Equal(t, 2, reached(nodes))
				require.NoError(t, sim.hosts[1].Network().ClosePeer(sim.hosts[2].ID()))
				broken := time.Now()
				time.Sleep(100 * time.Millisecond)
				for reached(nodes) < 2 && time.Since(broken) < 10*time.Minute {
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("a connection broke after 5 minutes of peace: back after %v", time.Since(broken))
				require.LessOrEqual(t, time.Since(broken), 15*time.Second)
			}
		})
	})
}

// TestSimulationAddressChange: a node that moves is found at its new address. Its old address
// is cut off at the same moment, so its connections to the points die without a word.
func TestSimulationAddressChange(t *testing.T) {
	inEachProtocol(t, func(t *testing.T, p spoken) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			sim := newSimulation(t, 4, 100*time.Millisecond)
			points := []peer.AddrInfo{info(sim.hosts[0]), info(sim.hosts[1])}
			for _, h := range sim.hosts[:2] {
				startPoint(t, h, testStorage(t), p.serve...)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mover, finder, at := sim.hosts[2], sim.hosts[3], 2
			c := p.client(mover, points...)
			states, err := c.KeepRegistered(ctx, "n")
			require.NoError(t, err)
			go advertise(ctx, c, "advertised") // as gossipsub does
			d := p.client(finder, points...)
			for i := range 6 {
				ns := []string{"n", "advertised"}[i%2]
				time.Sleep(7 * time.Second)
				dead := mover.Network().ConnsToPeer(points[0].ID)
				require.NotEmpty(t, dead)
				before := mover.Network().ListenAddresses()
				to := ma.StringCast("/ip4/" + simnet.IntToPublicIPv4(1000+i).String() + "/udp/8000/quic-v1")
				require.NoError(t, mover.Network().Listen(to))
				mover.Network().(interface{ ListenClose(...ma.Multiaddr) }).ListenClose(before...)
				sim.unplug(at, true)
				at = 1000 + i
				took := untilFoundAt(ctx, t, d, ns, to)
				t.Logf("found in %q at the new address after %v", ns, took)
				require.LessOrEqual(t, took, 5*time.Second)
				require.True(t, dead[0].IsClosed())
			}
			cancel()
			for range states { // until all its goroutines have ended
			}
		})
	})
}

// untilFoundAt returns after how long a search finds a peer at an address.
func untilFoundAt(ctx context.Context, t testing.TB, d discovery.Discovery, ns string, addr ma.Multiaddr) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		require.Less(t, time.Since(begun), 2*time.Minute)
		peers, err := d.FindPeers(ctx, ns)
		require.NoError(t, err)
		at := false
		for found := range peers {
			at = at || slices.ContainsFunc(found.Addrs, addr.Equal)
		}
		if at {
			return time.Since(begun)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestSimulationDifferentPoints: peers whose points differ still meet.
func TestSimulationDifferentPoints(t *testing.T) {
	const all, each, peers = 20, 15, 300
	var points []peer.ID
	for range all {
		_, id := newKey(t, 1)
		points = append(points, id)
	}
	for redundancy, bar := range map[int]float64{1: 0.5, 2: 0.85, 3: 0.95, 4: 0.98} {
		chosen := make([][]peer.ID, peers)
		for i := range chosen {
			rand.Shuffle(all, func(a, b int) { points[a], points[b] = points[b], points[a] })
			chosen[i] = rankPoints(slices.Clone(points[:each]), "n")[:redundancy]
		}
		meet, pairs := 0, 0
		for i, a := range chosen {
			for _, b := range chosen[:i] {
				pairs++
				if slices.ContainsFunc(a, func(id peer.ID) bool { return slices.Contains(b, id) }) {
					meet++
				}
			}
		}
		share := float64(meet) / float64(pairs)
		t.Logf("%d points, each peer knows %d, redundancy %d: %.1f %% of pairs meet", all, each, redundancy, 100*share)
		require.GreaterOrEqual(t, share, bar)
	}
}
