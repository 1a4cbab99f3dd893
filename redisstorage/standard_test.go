package redisstorage

// Points that share a registry and serve the standard protocol.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// newTestHost returns a host on loopback, connected to some others.
func newTestHost(t *testing.T, to ...host.Host) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	for _, other := range to {
		require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}))
	}
	return h
}

// askStandard sends a request of the standard protocol, of a type and with the fields of
// its part, and returns the message that answers it.
func askStandard(t *testing.T, from, point host.Host, typ uint64, part protowire.Number, fields []byte) []byte {
	t.Helper()
	st, err := from.NewStream(t.Context(), point.ID(), rendezvous.StandardID)
	require.NoError(t, err)
	defer func() { _ = st.Close() }()
	request := protowire.AppendVarint([]byte{1 << 3}, typ)
	request = protowire.AppendBytes(protowire.AppendTag(request, part, protowire.BytesType), fields)
	_, err = st.Write(protowire.AppendBytes(nil, request))
	require.NoError(t, err)
	in := bufio.NewReader(st)
	size, err := binary.ReadUvarint(in)
	require.NoError(t, err)
	answer := make([]byte, size)
	_, err = io.ReadFull(in, answer)
	require.NoError(t, err)
	return answer
}

// registerForHours registers a peer in namespace "news" for two hours.
func registerForHours(t *testing.T, h, point host.Host) {
	t.Helper()
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = h.ID(), []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/4001")}
	signed, err := record.Seal(rec, h.Peerstore().PrivKey(h.ID()))
	require.NoError(t, err)
	envelope, err := signed.Marshal()
	require.NoError(t, err)
	fields := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "news")
	fields = protowire.AppendBytes(protowire.AppendTag(fields, 2, protowire.BytesType), envelope)
	// type REGISTER_RESPONSE, status 0, ttl 7200
	require.Equal(t, []byte("\x08\x01\x1a\x05\x08\x00\x18\xa0\x38"), askStandard(t, h, point, 0, 2, fields))
}

// sampled returns whom a point samples in namespace "news".
func sampled(t *testing.T, h, point host.Host) (ids []peer.ID) {
	t.Helper()
	found, err := rendezvous.NewClient(h).Discover(t.Context(), point.ID(), "news", 0)
	require.NoError(t, err)
	for _, r := range found {
		ids = append(ids, r.Peer.ID)
	}
	return ids
}

// TestPointsShareFreshness: a registration of hours at one point is in the samples of
// another point as long as its peer is connected to the first, and no longer than 21
// seconds afterwards. Pages of the other point have it still.
func TestPointsShareFreshness(t *testing.T) {
	t.Parallel()
	s := startServer(t, "redis-server")
	var points []host.Host
	for range 2 {
		h := newTestHost(t)
		service := rendezvous.NewRendezvousService(h, open(t, s.url()), rendezvous.WithStandardProtocol(0, 0))
		require.NoError(t, service.Start())
		t.Cleanup(service.Stop)
		points = append(points, h)
	}
	stays, leaves, asker := newTestHost(t, points[0]), newTestHost(t, points[0]), newTestHost(t, points[1])
	for _, h := range []host.Host{stays, leaves} {
		registerForHours(t, h, points[0])
	}
	require.ElementsMatch(t, []peer.ID{stays.ID(), leaves.ID()}, sampled(t, asker, points[1]))

	require.NoError(t, leaves.Close())
	for points[0].Network().Connectedness(leaves.ID()) == network.Connected {
		pause(t, 10*time.Millisecond)
	}
	pause(t, 21*time.Second)
	require.Equal(t, []peer.ID{stays.ID()}, sampled(t, asker, points[1]), "one is renewed")
	news := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "news")
	page := askStandard(t, asker, points[1], 3, 5, news)
	for _, h := range []host.Host{stays, leaves} {
		require.True(t, bytes.Contains(page, []byte(h.ID())), "pages have both")
	}
}
