package rendezvous

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// addressed is a host that has these addresses at the moment.
type addressed struct {
	host.Host
	addrs []ma.Multiaddr
}

func (h *addressed) Addrs() []ma.Multiaddr { return h.addrs }

func multiaddrs(s ...string) (addrs []ma.Multiaddr) {
	for _, a := range s {
		addrs = append(addrs, ma.StringCast(a))
	}
	return addrs
}

// published is what a host registers.
func published(t testing.TB, o *ownRecord) (*peer.PeerRecord, []byte) {
	t.Helper()
	envelope, err := o.envelope()
	require.NoError(t, err)
	_, rec, err := openRecord(envelope)
	require.NoError(t, err)
	return rec, envelope
}

const (
	publicAddr   = "/ip4/1.2.3.4/tcp/1"
	dnsAddr      = "/dns4/example.org/tcp/443/wss"
	relayedAddr  = "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit"
	privateAddr  = "/ip4/192.168.1.2/tcp/1"
	loopbackAddr = "/ip4/127.0.0.1/tcp/1"
)

// TestPublicAddrs: what can be reached from anywhere, and nothing else.
func TestPublicAddrs(t *testing.T) {
	h := &addressed{newHost(t), multiaddrs(loopbackAddr, privateAddr, relayedAddr, publicAddr, dnsAddr)}
	c := NewClient(h, WithAddrsFactory(PublicAddrs))
	rec, first := published(t, &c.own)
	require.Equal(t, multiaddrs(publicAddr, dnsAddr, relayedAddr), rec.Addrs)

	h.addrs = multiaddrs(dnsAddr, publicAddr, relayedAddr, "/ip4/192.168.1.3/tcp/1")
	_, again := published(t, &c.own)
	require.Equal(t, first, again, "the same until what is published changes")

	h.addrs = multiaddrs(publicAddr)
	changed, _ := published(t, &c.own)
	require.Equal(t, multiaddrs(publicAddr), changed.Addrs)
	require.Greater(t, changed.Seq, rec.Seq)

	h.addrs = multiaddrs(privateAddr)
	_, err := c.own.envelope()
	require.ErrorIs(t, err, ErrNoAddresses)

	all := NewClient(h, WithAddrsFactory(AllAddrs))
	rec, _ = published(t, &all.own)
	require.Equal(t, multiaddrs(privateAddr), rec.Addrs)

	_, err = NewClient(h, WithAddrsFactory(nil)).Register(t.Context(), h.ID(), "n", 0)
	require.ErrorContains(t, err, "addresses factory")
}

// TestFitAddrs: where the wire does not take all addresses, the most reachable stay.
func TestFitAddrs(t *testing.T) {
	var many []string
	for i := range 60 { // of 54 bytes each
		many = append(many, fmt.Sprintf("/ip4/10.0.0.%d/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN", i))
	}
	addrs := multiaddrs(append(append([]string{loopbackAddr}, many...), relayedAddr, publicAddr, publicAddr)...)
	fit := fitAddrs(append(addrs, nil))
	require.Equal(t, multiaddrs(publicAddr, relayedAddr), fit[:2])
	require.LessOrEqual(t, addrsSize(fit), MaxAddrsSize)
	require.Greater(t, addrsSize(fit), MaxAddrsSize-60)
	require.True(t, fit[2].Equal(ma.StringCast(many[0])), "otherwise in the order in which they were")
	require.True(t, fit[len(fit)-1].Equal(ma.StringCast(loopbackAddr)), "a short one fits where no long one does")
	require.Len(t, addrs, 64, "what was passed in is left alone")
}

// TestTooManyAddresses: the host's own record does not fit the wire, so one is made
// that does, and stays the same.
func TestTooManyAddresses(t *testing.T) {
	var many []ma.Multiaddr
	for i := range 300 {
		many = append(many, ma.StringCast(fmt.Sprintf("/ip4/10.0.%d.%d/tcp/1", i/250, i%250)))
	}
	many = append(many, ma.StringCast(publicAddr))
	h := newHost(t, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return slices.Clone(many) }))
	c := NewClient(h)
	rec, first := published(t, &c.own)
	require.True(t, rec.Addrs[0].Equal(ma.StringCast(publicAddr)))
	require.LessOrEqual(t, addrsSize(rec.Addrs), MaxAddrsSize)
	_, again := published(t, &c.own)
	require.Equal(t, first, again)
}
