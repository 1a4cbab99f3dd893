package main

// Several points, of which some are silent, and names that do not resolve.

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const somePeer = "12D3KooWN262PQEJnZsohkskfQvdtHgS5G4ZYuBYkBPc2HSGM6wP"

// silentServer accepts connections and says nothing.
type silentServer struct {
	net.Listener
	accepted atomic.Int64 // connections
}

func startSilentServer(t testing.TB) *silentServer {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &silentServer{Listener: l}
	var conns []net.Conn
	var running sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		running.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	running.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			conns = append(conns, c)
			s.accepted.Add(1)
		}
	})
	return s
}

// point returns the server's address as that of a point.
func (s *silentServer) point(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr().String())
	require.NoError(t, err)
	return "/ip4/127.0.0.1/tcp/" + port + "/p2p/" + somePeer
}

// awaitConn returns when the server has accepted more than before connections.
func (s *silentServer) awaitConn(t testing.TB, before int64) {
	t.Helper()
	waitFor(t, "a connection", func() bool { return s.accepted.Load() > before })
}

// TestSilentPoint: a silent point does not take the time of those after it.
func TestSilentPoint(t *testing.T) {
	t.Parallel()
	live, silent := startTestPoint(t), startSilentServer(t).point(t)
	registerPeer(t, live.addrs[0], "news")
	liveID := live.addrs[0][strings.LastIndex(live.addrs[0], "/")+1:]

	for _, c := range []struct {
		command, want string
		args          []string
	}{
		{"discover", "/ip4/127.0.0.1/tcp/", []string{"news"}},
		{"id", liveID, nil},
		{"ping", liveID + " is alive", []string{}},
	} {
		args := append([]string{c.command, "--timeout", "4s", "--point", silent, "--point", live.addrs[0]}, c.args...)
		out, errs, code := runCommand(t, args...)
		require.Equal(t, exitNoAnswer, code, errs)
		require.Contains(t, out, c.want, c.command)
		require.Contains(t, errs, "cannot reach rendezvous point "+somePeer, c.command)
	}
	watch := startCommand(t, "watch", "--timeout", "20s", "--point", silent, "--point", live.addrs[0], "news")
	waitFor(t, "the peer to join", func() bool { return strings.Contains(watch.out.String(), "+ 12D3") })
	require.Zero(t, watch.stop())
}

// TestInterrupted: a command that was interrupted says so, and blames no point.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	server := startSilentServer(t)
	silent := server.point(t)
	for _, args := range [][]string{{"ping"}, {"id"}, {"discover", "--all"}, {"bench", "--peers", "1"}} {
		before := server.accepted.Load()
		c := startCommand(t, append(args, "--point", silent)...)
		server.awaitConn(t, before)
		require.Equal(t, exitInterrupted, c.stop(), args[0])
		require.Equal(t, "rendezvous: interrupted\n", c.errs.String(), args[0])
	}
	watch := startCommand(t, "watch", "--point", silent, "news")
	require.Zero(t, watch.stop(), "watch runs until it is interrupted")
	require.Empty(t, watch.errs.String())
}

// stallingStorage answers three samples, and then none.
type stallingStorage struct {
	rendezvous.Storage
	samples atomic.Int32
	stalled chan struct{}
}

func (s *stallingStorage) Sample(ctx context.Context, ns string, limit, maxBytes int) ([]rendezvous.Record, error) {
	if n := s.samples.Add(1); n == 4 {
		close(s.stalled)
	} else if n < 4 {
		return s.Storage.Sample(ctx, ns, limit, maxBytes)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestInterruptedPing: the answers so far are printed.
func TestInterruptedPing(t *testing.T) {
	t.Parallel()
	storage := &stallingStorage{Storage: rendezvous.NewMemoryStorage(), stalled: make(chan struct{})}
	defer storage.Close()
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	defer h.Close()
	service := rendezvous.NewRendezvousService(h, storage)
	require.NoError(t, service.Start())
	defer service.Stop()

	c := startCommand(t, "ping", "--count", "10", "--timeout", "1m", "--point", h.Addrs()[0].String()+"/p2p/"+h.ID().String())
	<-storage.stalled
	require.Equal(t, exitInterrupted, c.stop())
	require.Contains(t, c.out.String(), ", 3 answers in ")
	require.Equal(t, "rendezvous: interrupted\n", c.errs.String())
}

// TestUnresolvedName: the error names the name.
func TestUnresolvedName(t *testing.T) {
	t.Parallel()
	unresolved := "/dns4/nowhere.invalid/tcp/4040/p2p/" + somePeer
	for _, args := range [][]string{{"ping"}, {"id"}, {"discover", "--all"}} {
		_, errs, code := runCommand(t, append(args, "--timeout", "5s", "--point", unresolved)...)
		require.Equal(t, exitNoAnswer, code)
		require.Contains(t, errs, `the name "nowhere.invalid" does not resolve`)
		require.NotContains(t, errs, "good addresses")
	}
	for _, format := range []string{"--json=false", "--json"} {
		register := startCommand(t, "register", format, "--point", unresolved, "news")
		waitFor(t, "the error", func() bool { return strings.Contains(register.out.String(), "nowhere.invalid") })
		require.Equal(t, exitNoAnswer, register.stop())
		require.Contains(t, register.out.String(), "cannot reach it: the name ")
		require.Contains(t, register.errs.String(), `the name "nowhere.invalid" does not resolve`)
	}
}

func TestNameResolver(t *testing.T) {
	mock := &madns.MockResolver{IP: map[string][]net.IPAddr{
		"six.example.org": {{IP: net.ParseIP("2001:db8::1")}},
	}}
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(mock))
	require.NoError(t, err)
	r := newNameResolver()
	r.MultiaddrDNSResolver = swarm.ResolverFromMaDNS{Resolver: resolver}
	four, six := ma.StringCast("/dns4/six.example.org/tcp/1"), ma.StringCast("/dns6/six.example.org/tcp/1")
	_, err = r.ResolveDNSComponent(t.Context(), four, 10)
	require.NoError(t, err)
	require.Len(t, r.failures([]ma.Multiaddr{four, four}), 1)
	require.ErrorContains(t, r.failures([]ma.Multiaddr{four})[0], `"six.example.org" does not resolve: it has no address`)
	require.Empty(t, r.failures([]ma.Multiaddr{ma.StringCast("/dns4/another.example.org/tcp/1"), ma.StringCast("/ip4/127.0.0.1/tcp/1")}))
	_, err = r.ResolveDNSComponent(t.Context(), six, 10)
	require.NoError(t, err)
	require.Empty(t, r.failures([]ma.Multiaddr{four}), "the last attempt counts")

	waiting := waitingResolver{r.MultiaddrDNSResolver, make(chan struct{})}
	r.MultiaddrDNSResolver = waiting
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.ResolveDNSAddr(ctx, "", ma.StringCast("/dnsaddr/slow.example.org"), 1, 10)
		ended <- err
	}()
	<-waiting.called
	require.ErrorContains(t, r.failures([]ma.Multiaddr{ma.StringCast("/dnsaddr/slow.example.org")})[0], "no answer")
	cancel()
	require.Error(t, <-ended)
}

// waitingResolver does not answer.
type waitingResolver struct {
	network.MultiaddrDNSResolver
	called chan struct{}
}

func (r waitingResolver) ResolveDNSAddr(ctx context.Context, _ peer.ID, _ ma.Multiaddr, _, _ int) ([]ma.Multiaddr, error) {
	close(r.called)
	<-ctx.Done()
	return nil, ctx.Err()
}
