package points

// Simulated hosts in virtual time, and points that do as a test says.

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

const testProtocol protocol.ID = "/points-test/1"

// Answers of points, and what the requests of this package's tests make of them.
const (
	yes     = "yes"
	refusal = "not you"
	tooMuch = "slow down"
)

var (
	errRefused = errors.New("refused")
	errTooMuch = errors.New("too much")
	errUseless = errors.New("useless answer")
)

func judge(err error) Verdict {
	switch {
	case errors.Is(err, errRefused):
		return Answered
	case errors.Is(err, errTooMuch):
		return TooMuch
	default:
		return Failed
	}
}

// hello is a request.
func hello() Request {
	return Request{
		Append:    func(dst []byte, _ protocol.ID) []byte { return append(dst, "\x05hello"...) },
		MaxAnswer: 100,
		Read: func(frame []byte, _ protocol.ID) error {
			switch string(frame) {
			case yes:
				return nil
			case refusal:
				return errRefused
			case tooMuch:
				return errTooMuch
			default:
				return errUseless
			}
		},
	}
}

// sayHello makes a request at a point.
func sayHello(ctx context.Context, p *Point) error { return p.RoundTrip(ctx, hello()) }

// behaviour is what a point does with a stream on which it has read a request.
type behaviour func(st network.Stream, r *bufio.Reader)

// answering is a point that answers with one frame.
func answering(text string) behaviour {
	return sending(string(rune(len(text))) + text)
}

// sending is a point that sends these bytes, whatever they are.
func sending(b string) behaviour {
	return func(st network.Stream, _ *bufio.Reader) { _, _ = st.Write([]byte(b)) }
}

// resetting is a point that breaks off.
func resetting(st network.Stream, _ *bufio.Reader) { _ = st.Reset() }

// silent is a point that does not answer for as long as the stream is open.
func silent(_ network.Stream, r *bufio.Reader) { _, _ = r.ReadByte() }

// serve makes a host a point.
func serve(h host.Host, b behaviour) {
	h.SetStreamHandler(testProtocol, func(st network.Stream) {
		r := bufio.NewReader(st)
		if _, err := wire.ReadFrame(r, nil, 1000); err != nil {
			_ = st.Reset()
			return
		}
		b(st, r)
		_ = st.Close()
	})
}

// simulation is a network of real hosts, in a synctest bubble.
type simulation struct {
	hosts []host.Host
	net   *simnet.Simnet

	mu        sync.Mutex
	unplugged map[string]bool // IP addresses that no packet reaches or leaves
}

// oneProcessor runs the test on one processor. On several, the race detector of Go 1.26
// crashes in a synctest bubble: a goroutine that looks at the channel of a due timer
// runs the timer itself, under one identity for the whole bubble
// (runtime.(*timer).unlockAndRun). Two at the same time crash the detector.
func oneProcessor(t testing.TB) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// newSimulation connects n hosts by lines of 100 Mbit/s with 10 ms of latency each way.
func newSimulation(t testing.TB, n int) *simulation {
	t.Helper()
	oneProcessor(t)
	s := &simulation{unplugged: make(map[string]bool)}
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	sim, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
		{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: n},
	}, func(p *simnet.Packet) time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.unplugged[ip(p.From)] || s.unplugged[ip(p.To)] {
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
	s.hosts, s.net = meta.Nodes, sim
	return s
}

func ip(a net.Addr) string { return a.(*net.UDPAddr).IP.String() }

// unplug cuts host i off without telling anybody, or connects it again.
func (s *simulation) unplug(i int, off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unplugged[simnet.IntToPublicIPv4(i).String()] = off
}

func info(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

func infos(hosts ...host.Host) []peer.AddrInfo {
	var all []peer.AddrInfo
	for _, h := range hosts {
		all = append(all, info(h))
	}
	return all
}

func connect(t testing.TB, from, to host.Host) {
	t.Helper()
	require.NoError(t, from.Connect(t.Context(), info(to)))
}

func testConfig(h host.Host) Config {
	return Config{
		Host:      h,
		Protocols: []protocol.ID{"/points-test/2", testProtocol},
		Service:   "test",
		Judge:     judge,
	}
}

// namedSet returns a set of named points.
func namedSet(h host.Host, named ...peer.AddrInfo) *Set {
	c := testConfig(h)
	c.Named = named
	return New(c)
}

// speakerSet returns the set of all peers that speak the protocol.
func speakerSet(h host.Host) *Set {
	c := testConfig(h)
	c.AnySpeaker = true
	return New(c)
}

// bed is a host with a set of named points that answer yes, until a test changes
// their behaviour.
type bed struct {
	*simulation
	client host.Host
	set    *Set
	points map[peer.ID]host.Host
}

func newBed(t testing.TB, n int) *bed {
	t.Helper()
	b := &bed{simulation: newSimulation(t, n+1), points: make(map[peer.ID]host.Host)}
	b.client = b.hosts[n]
	for _, h := range b.hosts[:n] {
		b.points[h.ID()] = h
		serve(h, answering(yes))
	}
	b.set = namedSet(b.client, infos(b.hosts[:n]...)...)
	return b
}

// behave tells points what to do.
func (b *bed) behave(does behaviour, points ...*Point) {
	for _, p := range points {
		serve(b.points[p.ID()], does)
	}
}

func randomID(t testing.TB) peer.ID {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return id
}

// idsOf returns the IDs of points, in their order.
func idsOf(points []*Point) []peer.ID {
	ids := []peer.ID{}
	for _, p := range points {
		ids = append(ids, p.ID())
	}
	return ids
}
