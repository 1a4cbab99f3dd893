package rendezvous

// Hosts for tests: real ones on loopback, and simulated ones in virtual time.

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

const (
	overTCP  = "/ip4/127.0.0.1/tcp/0"
	overQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// newHost returns a real host that listens on loopback, over TCP unless opts say otherwise.
func newHost(t testing.TB, opts ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{libp2p.ListenAddrStrings(overTCP)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// simHosts returns n real hosts on a simulated network with 20 ms round trips, for
// use in a synctest bubble.
func simHosts(t testing.TB, n int) []host.Host {
	t.Helper()
	return newSimulation(t, n, 10*time.Millisecond).hosts
}

func info(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

func connect(t testing.TB, from, to host.Host) {
	t.Helper()
	require.NoError(t, from.Connect(t.Context(), info(to)))
}

// startPoint serves s on h until the test ends.
func startPoint(t testing.TB, h host.Host, s Storage, opts ...ServiceOption) *RendezvousService {
	t.Helper()
	service := NewRendezvousService(h, s, opts...)
	require.NoError(t, service.Start())
	t.Cleanup(service.Stop)
	return service
}

// spoken is a protocol that points serve and clients speak.
type spoken struct {
	serve []ServiceOption
	speak ClientOption
}

// client returns a client that speaks the protocol.
func (p spoken) client(h host.Host, points ...peer.AddrInfo) *Client {
	return NewClient(h, WithPoints(points...), p.speak)
}

// inEachProtocol runs a test in both protocols.
func inEachProtocol(t *testing.T, test func(*testing.T, spoken)) {
	t.Helper()
	t.Run("0.0.1", func(t *testing.T) { test(t, spoken{speak: WithProtocol(RendezvousID_v001)}) })
	t.Run("1.0.0", func(t *testing.T) {
		test(t, spoken{serve: []ServiceOption{WithStandardProtocol(0, 0)}, speak: WithProtocol(StandardID)})
	})
}

func testStorage(t testing.TB) Storage {
	t.Helper()
	s := NewMemoryStorage()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// keyTypes are all key types of libp2p.
var keyTypes = map[string]int{
	"Ed25519":   crypto.Ed25519,
	"Secp256k1": crypto.Secp256k1,
	"ECDSA":     crypto.ECDSA,
	"RSA":       crypto.RSA,
}

func newKey(t testing.TB, typ int) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(typ, 2048, rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return key, id
}

// seal signs a peer record for id with key, whether or not key belongs to id.
func seal(t testing.TB, key crypto.PrivKey, id peer.ID, addrs ...string) []byte {
	t.Helper()
	rec := peer.NewPeerRecord()
	rec.PeerID = id
	for _, a := range addrs {
		rec.Addrs = append(rec.Addrs, ma.StringCast(a))
	}
	return sealRecord(t, key, rec)
}

func sealRecord(t testing.TB, key crypto.PrivKey, rec record.Record) []byte {
	t.Helper()
	signed, err := record.Seal(rec, key)
	require.NoError(t, err)
	b, err := signed.Marshal()
	require.NoError(t, err)
	return b
}

// rawStream is a stream to a point without the client, as another program would use it.
type rawStream struct {
	network.Stream
	t testing.TB
	r *bufio.Reader
}

func openRaw(t testing.TB, from host.Host, to peer.ID) *rawStream {
	t.Helper()
	st, err := from.NewStream(t.Context(), to, RendezvousID_v001)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Reset() })
	return &rawStream{Stream: st, t: t, r: bufio.NewReader(st)}
}

// ask sends a message and returns the answer.
func (s *rawStream) ask(m *pb.Message) *pb.Message {
	s.t.Helper()
	_, err := s.Write(frameOf(s.t, m))
	require.NoError(s.t, err)
	answer, err := s.next()
	require.NoError(s.t, err)
	return answer
}

// next reads the next answer.
func (s *rawStream) next() (*pb.Message, error) { return readMessage(s.r) }

// newHostOver returns a real host that listens on a loopback address of one transport.
func newHostOver(t testing.TB, listen string) host.Host {
	t.Helper()
	return newHost(t, libp2p.ListenAddrStrings(listen))
}

// sealedRecords returns the signed records of n new peers.
func sealedRecords(t testing.TB, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for range n {
		key, id := newKey(t, crypto.Ed25519)
		all = append(all, seal(t, key, id, addr))
	}
	return all
}

// p521 returns a key whose signatures are the slowest to verify.
func p521(t testing.TB) crypto.PrivKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	private, _, err := crypto.ECDSAKeyPairFromKey(key)
	require.NoError(t, err)
	return private
}
