package rendezvous

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

const addr = "/ip4/192.0.2.1/tcp/4001"

// failing is a storage whose methods return an error.
type failing struct {
	Storage
	err error
}

func (f failing) Add(context.Context, Record, Quota) error { return f.err }
func (f failing) Sample(context.Context, string, int, int) ([]Record, error) {
	return nil, f.err
}

// otherDomain is a peer record for another purpose: the same bytes, signed in another
// domain.
type otherDomain struct{ *peer.PeerRecord }

func (otherDomain) Domain() string { return "somewhere-else" }

// otherType is a record of an unregistered type.
type otherType struct{ *peer.PeerRecord }

func (otherType) Codec() []byte { return []byte{0x99, 0x99} }

// manyAddrs returns addresses of exactly n bytes in all.
func manyAddrs(n int) []string {
	const one = 8 // bytes of /ip4/…/tcp/…
	var addrs []string
	for i := range n/one - 2 {
		addrs = append(addrs, fmt.Sprintf("/ip4/10.0.%d.%d/tcp/4001", i/256, i%256))
	}
	rest := n - one*len(addrs)
	return append(addrs, "/dns4/"+strings.Repeat("d", rest-3-2)+"/tcp/1") // two bytes of code and length, three of port
}

// TestRegister goes through the table of REGISTER, row by row, over a real stream.
func TestRegister(t *testing.T) {
	point, client := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	connect(t, client, point)
	key, id := client.Peerstore().PrivKey(client.ID()), client.ID()
	otherKey, otherID := newKey(t, crypto.Ed25519)
	good := seal(t, key, id, addr)
	own := peer.NewPeerRecord()
	own.PeerID, own.Addrs = id, info(client).Addrs
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	padded := protowire.AppendBytes(protowire.AppendTag(bytes.Clone(good), 99, protowire.BytesType), make([]byte, peerrecord.MaxSize))

	const (
		ns     = pb.Message_E_INVALID_NAMESPACE
		record = pb.Message_E_INVALID_PEER_INFO
		ttl    = pb.Message_E_INVALID_TTL
	)
	tests := []struct {
		name     string
		register *pb.Message_Register
		want     Status
		granted  int64
	}{
		{"no body", nil, ns, 0},
		{"no namespace", &pb.Message_Register{SignedPeerRecord: good}, ns, 0},
		{"a namespace of 256 bytes", &pb.Message_Register{Ns: strings.Repeat("n", 256), SignedPeerRecord: good}, 0, 20},
		{"a namespace of 257 bytes", &pb.Message_Register{Ns: strings.Repeat("n", 257), SignedPeerRecord: good}, ns, 0},
		{"namespace before record", &pb.Message_Register{Ttl: -1}, ns, 0},

		{"no record", &pb.Message_Register{Ns: "n"}, record, 0},
		{"unreadable envelope", &pb.Message_Register{Ns: "n", SignedPeerRecord: []byte("garbage")}, record, 0},
		{"wrong domain", &pb.Message_Register{Ns: "n", SignedPeerRecord: sealRecord(t, key, otherDomain{own})}, record, 0},
		{"wrong type", &pb.Message_Register{Ns: "n", SignedPeerRecord: sealRecord(t, key, otherType{own})}, record, 0},
		{"bad signature", &pb.Message_Register{Ns: "n", SignedPeerRecord: forged}, record, 0},
		{"not the key's peer ID", &pb.Message_Register{Ns: "n", SignedPeerRecord: seal(t, otherKey, id, addr)}, record, 0},
		{"not the connection's peer", &pb.Message_Register{Ns: "n", SignedPeerRecord: seal(t, otherKey, otherID, addr)}, record, 0},
		{"no addresses", &pb.Message_Register{Ns: "n", SignedPeerRecord: seal(t, key, id)}, record, 0},
		{"2048 bytes of addresses", &pb.Message_Register{Ns: "n", SignedPeerRecord: seal(t, key, id, manyAddrs(2048)...)}, 0, 20},
		{"2049 bytes of addresses", &pb.Message_Register{Ns: "n", SignedPeerRecord: seal(t, key, id, manyAddrs(2049)...)}, record, 0},
		{"signed, and padded with what nobody reads", &pb.Message_Register{Ns: "n", SignedPeerRecord: padded}, record, 0},
		{"record before ttl", &pb.Message_Register{Ns: "n", Ttl: -1}, record, 0},

		{"ttl -1", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: -1}, ttl, 0},
		{"ttl 21", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: 21}, ttl, 0},
		{"ttl of int64's most", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: math.MaxInt64}, ttl, 0},
		{"ttl of int64's least", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: math.MinInt64}, ttl, 0},
		{"ttl that overflows as nanoseconds", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: math.MaxInt64/int64(time.Second) + 1}, ttl, 0},

		{"no ttl", &pb.Message_Register{Ns: "n", SignedPeerRecord: good}, 0, 20},
		{"ttl 1", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: 1}, 0, 1},
		{"ttl 20", &pb.Message_Register{Ns: "n", SignedPeerRecord: good, Ttl: 20}, 0, 20},
	}
	st := openRaw(t, client, point.ID()) // several requests on one stream
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := st.ask(&pb.Message{Type: pb.Message_REGISTER, Register: test.register})
			require.Equal(t, pb.Message_REGISTER_RESPONSE, answer.GetType())
			r := answer.GetRegisterResponse()
			require.Equal(t, test.want, r.GetStatus(), r.GetStatusText())
			require.Equal(t, test.granted, r.GetTtl())
			require.Equal(t, test.want != 0, r.GetStatusText() != "", "every error has a text, and success has none")
			require.LessOrEqual(t, len(r.GetStatusText()), 80)
		})
	}
}

// TestStorageErrors covers the rest of the tables: how a point answers when its storage
// returns an error.
func TestStorageErrors(t *testing.T) {
	tests := []struct {
		err  error
		want Status
	}{
		{ErrPeerLimit, pb.Message_E_NOT_AUTHORIZED},
		{ErrFull, pb.Message_E_UNAVAILABLE},
		{fmt.Errorf("redis at 10.0.0.1: %w", ErrUnreachable), pb.Message_E_UNAVAILABLE},
		{ErrClosed, pb.Message_E_UNAVAILABLE},
		{context.DeadlineExceeded, pb.Message_E_UNAVAILABLE},
		{errors.New("disk at /var/secret is full"), pb.Message_E_INTERNAL_ERROR},
		{&StatusError{Status: pb.Message_E_INVALID_TTL, Text: "secret of another point"}, pb.Message_E_INTERNAL_ERROR},
		{&StatusError{Status: 999, Text: "secret"}, pb.Message_E_INTERNAL_ERROR},
	}
	client := newHost(t)
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			point := newHost(t)
			startPoint(t, point, failing{err: test.err}, WithMetrics(prometheus.NewRegistry()))
			connect(t, client, point)
			st := openRaw(t, client, point.ID())
			r := st.ask(registerRequest("n", seal(t, client.Peerstore().PrivKey(client.ID()), client.ID(), addr), 0)).GetRegisterResponse()
			d := st.ask(discoverRequest("n", 1)).GetDiscoverResponse()
			require.Equal(t, test.want, r.GetStatus())
			require.Equal(t, test.want, d.GetStatus())
			for _, text := range []string{r.GetStatusText(), d.GetStatusText()} {
				require.NotEmpty(t, text)
				require.NotContains(t, text, "secret")
				require.NotContains(t, text, "10.0.0.1")
			}
		})
	}
}

// fill registers n peers in a namespace, and returns their envelopes.
func fill(t testing.TB, s Storage, ns string, n int) map[string]peer.ID {
	t.Helper()
	envelopes := make(map[string]peer.ID)
	for range n {
		key, id := newKey(t, crypto.Ed25519)
		envelope := seal(t, key, id, addr)
		envelopes[string(envelope)] = id
		require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: id, Envelope: envelope, Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	return envelopes
}

// TestDiscover goes through the table of DISCOVER over a real stream.
func TestDiscover(t *testing.T) {
	point, client := newHost(t), newHost(t)
	s := testStorage(t)
	startPoint(t, point, s)
	connect(t, client, point)
	envelopes := fill(t, s, "many", 1002)
	fill(t, s, "one", 1)

	tests := []struct {
		name     string
		discover *pb.Message_Discover
		want     Status
		records  int
	}{
		{"no body is all namespaces", nil, 0, 1000},
		{"no namespace is all", &pb.Message_Discover{Limit: 7}, 0, 7},
		{"no limit is 1000", &pb.Message_Discover{Ns: "many"}, 0, 1000},
		{"limit -1 is 1000", &pb.Message_Discover{Ns: "many", Limit: -1}, 0, 1000},
		{"limit 1", &pb.Message_Discover{Ns: "many", Limit: 1}, 0, 1},
		{"limit 1000", &pb.Message_Discover{Ns: "many", Limit: 1000}, 0, 1000},
		{"limit 1001 is 1000", &pb.Message_Discover{Ns: "many", Limit: 1001}, 0, 1000},
		{"limit of int64's most is 1000", &pb.Message_Discover{Ns: "many", Limit: math.MaxInt64}, 0, 1000},
		{"limit of int64's least is 1000", &pb.Message_Discover{Ns: "many", Limit: math.MinInt64}, 0, 1000},
		{"fewer than asked", &pb.Message_Discover{Ns: "one", Limit: 5}, 0, 1},
		{"none", &pb.Message_Discover{Ns: "man", Limit: 5}, 0, 0},
		{"a namespace of 256 bytes", &pb.Message_Discover{Ns: strings.Repeat("n", 256)}, 0, 0},
		{"a namespace of 257 bytes", &pb.Message_Discover{Ns: strings.Repeat("n", 257)}, pb.Message_E_INVALID_NAMESPACE, 0},
	}
	st := openRaw(t, client, point.ID())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := st.ask(&pb.Message{Type: pb.Message_DISCOVER, Discover: test.discover})
			require.Equal(t, pb.Message_DISCOVER_RESPONSE, answer.GetType())
			d := answer.GetDiscoverResponse()
			require.Equal(t, test.want, d.GetStatus())
			require.Equal(t, test.want != 0, d.GetStatusText() != "")
			require.Len(t, d.GetRegistrations(), test.records)
			seen := make(map[string]bool)
			for _, r := range d.GetRegistrations() {
				require.False(t, seen[string(r.GetSignedPeerRecord())], "no repeats")
				seen[string(r.GetSignedPeerRecord())] = true
				if ns := test.discover.GetNs(); ns != "" {
					require.Equal(t, ns, r.GetNs())
				}
				if r.GetNs() == "many" {
					require.Contains(t, envelopes, string(r.GetSignedPeerRecord()), "byte for byte as registered")
				}
				require.Positive(t, r.GetTtl())
			}
		})
	}
}

// TestNotARequest: any other message or bytes from a peer end its stream.
func TestNotARequest(t *testing.T) {
	point, client := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	connect(t, client, point)
	frame := func(m *pb.Message) []byte {
		b := frameOf(t, m)
		return b
	}
	for name, sent := range map[string][]byte{
		"unreadable protobuf":         []byte("\x03\xff\xff\xff"),
		"namespace that is not UTF-8": frame2(protowire.AppendBytes([]byte{0x22, 4, 0x0a}, []byte{0xff, 0xfe})),
		"a response":                  frame(registerResponse(DefaultTTL)),
		"another response":            frame(refusal(pb.Message_DISCOVER, refuse(100, ""))),
		"an unknown type":             frame(&pb.Message{Type: 17}),
		"a message over the bound":    append([]byte{0x81, 0x80, 0x01}, make([]byte, wire.Waku.MaxRequest+1)...),
	} {
		t.Run(name, func(t *testing.T) {
			st := openRaw(t, client, point.ID())
			_, err := st.Write(sent)
			if err == nil { // the reset may overtake the end of what is written
				_, err = st.next()
			}
			require.ErrorIs(t, err, network.ErrReset)
			require.Equal(t, pb.Message_OK, openRaw(t, client, point.ID()).ask(discoverRequest("", 1)).GetDiscoverResponse().GetStatus())
		})
	}
}

func frame2(body []byte) []byte {
	return append(protowire.AppendVarint(nil, uint64(len(body))), body...)
}

// TestRegistrationLives checks lifetimes to the second, on both sides of every boundary,
// in virtual time. The reported TTL is the rest, rounded up.
func TestRegistrationLives(t *testing.T) {
	for _, test := range []struct {
		name string
		ttl  time.Duration // requested
		want time.Duration // granted
	}{
		{"default", 0, 20 * time.Second},
		{"asked for", 7 * time.Second, 7 * time.Second},
		{"shortest", time.Second, time.Second},
		{"a fraction is rounded up", 1500 * time.Millisecond, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 2)
				point, h := hosts[0], hosts[1]
				s := testStorage(t)
				startPoint(t, point, s)
				connect(t, h, point)
				c := NewClient(h)
				granted, err := c.Register(t.Context(), point.ID(), "n", test.ttl)
				require.NoError(t, err)
				require.Equal(t, test.want, granted)

				rec, err := s.Sample(t.Context(), "n", 1, 0)
				require.NoError(t, err)
				ends := rec[0].Deadline
				require.WithinDuration(t, time.Now().Add(test.want+grace), ends, 50*time.Millisecond)

				for left := test.want; left >= time.Second; left -= time.Second {
					at(t, ends.Add(-grace-left), c, point.ID(), left) // a whole number of seconds left
					if left > time.Second {
						at(t, ends.Add(-grace-left+100*time.Millisecond), c, point.ID(), left) // a little less: rounded up
					}
				}
				at(t, ends.Add(-time.Millisecond), c, point.ID(), time.Second) // in its grace
				at(t, ends, c, point.ID(), 0)                                  // gone
			})
		})
	}
}

// at checks the TTL that a point reports at a time for the one registration in "n". With 0
// there must be none. The way to the point takes 10 ms.
func at(t *testing.T, when time.Time, c *Client, point peer.ID, want time.Duration) {
	t.Helper()
	time.Sleep(time.Until(when) - 10*time.Millisecond) // of virtual time
	found, err := c.Discover(t.Context(), point, "n", 0)
	require.NoError(t, err)
	if want == 0 {
		require.Empty(t, found)
		return
	}
	require.Len(t, found, 1)
	require.Equal(t, want, found[0].TTL)
}

// TestRefresh: registering again replaces record and deadline.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point, h := hosts[0], hosts[1]
		startPoint(t, point, testStorage(t))
		connect(t, h, point)
		st := openRaw(t, h, point.ID())
		key := h.Peerstore().PrivKey(h.ID())
		for _, a := range []string{addr, "/ip4/192.0.2.2/tcp/4002"} {
			envelope := seal(t, key, h.ID(), a)
			require.EqualValues(t, 0, st.ask(registerRequest("n", envelope, 2*time.Second)).GetRegisterResponse().GetStatus())
			d := st.ask(discoverRequest("n", 0)).GetDiscoverResponse()
			require.Len(t, d.GetRegistrations(), 1)
			require.Equal(t, envelope, d.GetRegistrations()[0].GetSignedPeerRecord())
			time.Sleep(2 * time.Second)
		}
		require.Len(t, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetRegistrations(), 1, "the refreshed registration is in its grace")
		time.Sleep(time.Second)
		require.Empty(t, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetRegistrations())
	})
}

// TestKeyTypes registers and discovers peers with keys of all types, over real hosts.
func TestKeyTypes(t *testing.T) {
	point, asking := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	connect(t, asking, point)
	for name, typ := range keyTypes {
		t.Run(name, func(t *testing.T) {
			key, id := newKey(t, typ)
			h := newHost(t, libp2p.Identity(key))
			connect(t, h, point)
			_, err := NewClient(h).Register(t.Context(), point.ID(), name, 0)
			require.NoError(t, err)
			found, err := NewClient(asking).Discover(t.Context(), point.ID(), name, 0)
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, id, found[0].Peer.ID)
			require.ElementsMatch(t, h.Addrs(), found[0].Peer.Addrs)
			require.Equal(t, 20*time.Second, found[0].TTL)
			require.Empty(t, asking.Peerstore().Addrs(id), "nothing is written into the peerstore")
		})
	}
}

// TestStopAndStart: after Stop nothing answers and no goroutine runs. Start serves again.
func TestStopAndStart(t *testing.T) {
	point, h := newHost(t), newHost(t)
	service := NewRendezvousService(point, testStorage(t))
	service.Stop() // before Start
	require.NoError(t, service.Start())
	require.Error(t, service.Start(), "twice")
	connect(t, h, point)
	c := NewClient(h)
	_, err := c.Register(t.Context(), point.ID(), "n", 0)
	require.NoError(t, err)

	kept := openRaw(t, h, point.ID())
	kept.ask(discoverRequest("n", 0))
	half := openRaw(t, h, point.ID())
	_, err = half.Write([]byte{0x05})
	require.NoError(t, err)
	begun := time.Now()
	service.Stop()
	require.Less(t, time.Since(begun), firstRequestTimeout, "Stop does not wait for peers")
	service.Stop()
	require.NotContains(t, point.Mux().Protocols(), RendezvousID_v001)
	for _, st := range []*rawStream{kept, half} {
		_, err := st.next()
		require.Error(t, err)
	}
	_, err = c.Discover(t.Context(), point.ID(), "n", 0)
	require.Error(t, err)

	require.NoError(t, service.Start())
	require.Eventually(t, func() bool {
		found, err := c.Discover(t.Context(), point.ID(), "n", 0)
		return err == nil && len(found) == 1
	}, 10*time.Second, 10*time.Millisecond, "the storage is as it was")
	service.Stop()
}

// TestStopTwiceAtOnce: one call stops the service and the other waits for it. Neither can
// stop a service that was started in between.
func TestStopTwiceAtOnce(t *testing.T) {
	tracer := &slowToStop{begun: make(chan struct{}, 2), release: make(chan struct{})}
	service := startPoint(t, newHost(t), testStorage(t), WithMetricsTracer(tracer))
	var stops sync.WaitGroup
	stops.Go(service.Stop)
	<-tracer.begun
	stops.Go(service.Stop)
	select {
	case <-tracer.begun:
		t.Error("the service was stopped twice")
	case <-time.After(100 * time.Millisecond):
	}
	close(tracer.release)
	stops.Wait()
	require.Empty(t, tracer.begun)
	require.NoError(t, service.Start())
	service.Stop()
}

// slowToStop is a tracer that delays Stop.
type slowToStop struct {
	noMetrics
	begun, release chan struct{}
}

func (s *slowToStop) Started(Storage) func() {
	return func() {
		s.begun <- struct{}{}
		<-s.release
	}
}

// TestStopInterruptsStorage: Stop cancels the context of a request that waits for its
// storage.
func TestStopInterruptsStorage(t *testing.T) {
	point, h := newHost(t), newHost(t)
	slow := &blocking{entered: make(chan struct{})}
	service := startPoint(t, point, slow)
	connect(t, h, point)
	st := openRaw(t, h, point.ID())
	go func() {
		<-slow.entered
		service.Stop()
	}()
	require.Equal(t, pb.Message_E_UNAVAILABLE, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
	service.Stop()
}

// blocking is a storage that returns when its context is cancelled.
type blocking struct {
	Storage
	entered chan struct{}
}

func (b *blocking) Sample(ctx context.Context, _ string, _, _ int) ([]Record, error) {
	close(b.entered)
	<-ctx.Done()
	return nil, fmt.Errorf("sample: %w", ctx.Err())
}

// TestStartRefusesNonsense: Start reports invalid arguments of the constructor.
func TestStartRefusesNonsense(t *testing.T) {
	require.Error(t, NewRendezvousService(nil, nil).Start())
	bad := func(*serviceConfig) error { return errors.New("no such thing") }
	require.ErrorContains(t, NewRendezvousService(newHost(t), testStorage(t), bad).Start(), "no such thing")
}

// TestSilentStreamsEnd: the point ends a stream on which nothing or only half a message
// arrives.
func TestSilentStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t))
		connect(t, hosts[1], hosts[0])
		for _, sent := range []string{"\x05", "\x05abc", ""} {
			st := openRaw(t, hosts[1], hosts[0].ID())
			if sent == "" {
				st.ask(discoverRequest("n", 0)) // one request, and then silence
			}
			_, err := st.Write([]byte(sent))
			require.NoError(t, err)
			timeout := firstRequestTimeout
			if sent == "" {
				timeout = idleTimeout
			}
			begun := time.Now()
			_, err = st.next()
			require.Error(t, err)
			require.InDelta(t, timeout.Seconds(), time.Since(begun).Seconds(), 1)
		}
	})
}
