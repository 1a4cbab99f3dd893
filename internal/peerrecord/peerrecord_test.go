package peerrecord

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	publicAddr   = "/ip4/1.2.3.4/tcp/1"
	dnsAddr      = "/dns4/example.org/tcp/443/wss"
	relayID      = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	relayedAddr  = publicAddr + "/p2p/" + relayID + "/p2p-circuit"
	privateAddr  = "/ip4/192.168.1.2/tcp/1"
	loopbackAddr = "/ip4/127.0.0.1/tcp/1"
)

func multiaddrs(s ...string) (addrs []ma.Multiaddr) {
	for _, a := range s {
		addrs = append(addrs, ma.StringCast(a))
	}
	return addrs
}

func newKey(t testing.TB, typ int) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(typ, 2048, rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return key, id
}

// seal signs a record for id with key, whether or not they belong together.
func seal(t testing.TB, key crypto.PrivKey, id peer.ID, addrs ...string) []byte {
	t.Helper()
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(addrs...)
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

// otherDomain is a peer record that is signed for another purpose.
type otherDomain struct{ *peer.PeerRecord }

func (otherDomain) Domain() string { return "somewhere-else" }

// otherType is a peer record that says it is something else.
type otherType struct{ *peer.PeerRecord }

func (otherType) Codec() []byte { return []byte{3, 2} }

// rawPayload is a record of any bytes that says it is a peer record.
type rawPayload struct {
	*peer.PeerRecord
	bytes []byte
}

func (r rawPayload) MarshalRecord() ([]byte, error) { return r.bytes, nil }

// vectors returns the envelopes of another implementation, by the peer that signed each.
func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors/wire.json")
	require.NoError(t, err)
	var all []struct {
		Decoded struct {
			PeerID string `json:"peer_id"`
			Record string `json:"signed_peer_record_hex"`
		} `json:"decoded"`
	}
	require.NoError(t, json.Unmarshal(text, &all))
	found := make(map[string][]byte)
	for _, v := range all {
		if v.Decoded.Record != "" {
			envelope, err := hex.DecodeString(v.Decoded.Record)
			require.NoError(t, err)
			found[v.Decoded.PeerID] = envelope
		}
	}
	require.GreaterOrEqual(t, len(found), 4, "one for each type of key")
	return found
}

func TestOpenVectors(t *testing.T) {
	types := make(map[string]bool)
	for id, envelope := range vectors(t) {
		for _, owner := range []string{id, ""} {
			var p peer.ID
			if owner != "" {
				var err error
				p, err = peer.Decode(owner)
				require.NoError(t, err)
			}
			r, err := Open(envelope, p)
			require.NoError(t, err)
			require.Equal(t, id, r.ID.String())
			require.NotEmpty(t, r.Addrs)
			require.Equal(t, envelope, r.Envelope)
		}
		signed, err := record.UnmarshalEnvelope(envelope)
		require.NoError(t, err)
		types[signed.PublicKey.Type().String()] = true
	}
	require.Len(t, types, 4)
}

// unsigned is what the vectors call what is no envelope.
const unsigned = "unsigned PeerInfo"

// TestKinds opens the records of other programs, each as the kind that it is and as the
// other one.
func TestKinds(t *testing.T) {
	text, err := os.ReadFile("../wire/testdata/vectors/standard.json")
	require.NoError(t, err)
	var all []struct {
		Name    string `json:"name"`
		Decoded struct {
			Kind     string `json:"record_kind"`
			PeerID   string `json:"peer_id"`
			Record   string `json:"signed_peer_record_hex"`
			PeerInfo string `json:"peer_info_hex"`
		} `json:"decoded"`
	}
	require.NoError(t, json.Unmarshal(text, &all))
	kinds := map[string]Kind{"standard": Usual, "rust": RoutingState, unsigned: Usual}
	seen := make(map[string]int)
	for _, v := range all {
		kind, known := kinds[v.Decoded.Kind]
		envelope, err := hex.DecodeString(v.Decoded.Record + v.Decoded.PeerInfo)
		require.NoError(t, err)
		if !known || len(envelope) == 0 || strings.Contains(v.Name, "without addresses") {
			continue
		}
		seen[v.Decoded.Kind]++
		t.Run(v.Name, func(t *testing.T) {
			require.Equal(t, kind, KindOf(envelope))
			id, err := peer.Decode(v.Decoded.PeerID)
			require.NoError(t, err)
			r, err := OpenPaid(envelope, id, kind, nil)
			var invalid *InvalidError
			if v.Decoded.Kind == unsigned {
				require.ErrorAs(t, err, &invalid)
				require.Contains(t, invalid.Reason, "malformed")
				return
			}
			require.NoError(t, err)
			require.Equal(t, id, r.ID)
			require.NotEmpty(t, r.Addrs)
			_, err = OpenPaid(envelope, id, 1-kind, nil)
			require.ErrorAs(t, err, &invalid)
			require.Contains(t, invalid.Reason, "no peer record")
			_, err = Open(envelope, id)
			require.Equal(t, kind == Usual, err == nil, "%v", err)
		})
	}
	require.Equal(t, map[string]int{"standard": 20, "rust": 2, unsigned: 1}, seen)
}

// TestKindByItsDomain: a kind is verified by its own domain, whatever the payload type says.
func TestKindByItsDomain(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(publicAddr)
	good := sealRecord(t, key, &routingState{*rec})
	require.Equal(t, RoutingState, KindOf(good))
	_, err := OpenPaid(good, id, RoutingState, nil)
	require.NoError(t, err)
	usual := seal(t, key, id, publicAddr)
	require.Equal(t, Usual, KindOf(usual))
	for name, envelope := range map[string][]byte{
		"the other domain": inField(t, usual, envelopePayloadType, func([]byte) []byte { return []byte(routingStateType) }),
		"the other type":   inField(t, good, envelopePayloadType, func([]byte) []byte { return peer.PeerRecordEnvelopePayloadType }),
	} {
		_, err := OpenPaid(envelope, id, KindOf(envelope), nil)
		require.ErrorContains(t, err, "does not verify", name)
	}
}

// TestKindOf: nothing of what it is given is trusted.
func TestKindOf(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(publicAddr)
	good := sealRecord(t, key, &routingState{*rec})
	require.Zero(t, testing.AllocsPerRun(10, func() { KindOf(good) }))
	for i := range good {
		KindOf(good[:i])
	}
	for _, envelope := range [][]byte{nil, {0x12}, {0x12, 200}, {0x33, 0x34}, []byte("garbage")} {
		require.Equal(t, Usual, KindOf(envelope))
	}
}

func TestOpenRefuses(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	otherKey, other := newKey(t, crypto.Ed25519)
	_, rsaID := newKey(t, crypto.RSA)
	good := seal(t, key, id, publicAddr)
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(publicAddr)
	payload, err := rec.MarshalRecord()
	require.NoError(t, err)
	long := seal(t, key, id, slices.Repeat([]string{publicAddr + "/p2p/" + relayID}, 45)...)
	badSignature := bytes.Clone(good)
	badSignature[len(badSignature)-1] ^= 1

	for _, test := range []struct {
		name     string
		envelope []byte
		owner    peer.ID
		reason   string
	}{
		{"nothing", nil, id, "missing"},
		{"8 KiB and a byte", make([]byte, MaxSize+1), id, "over 8192 bytes"},
		{"garbage", []byte("garbage"), id, "malformed"},
		{"cut", good[:len(good)-1], id, "malformed"},
		{"an unknown field", unknown(good), id, "malformed"},
		{"an unknown field in the key", inField(t, good, 1, unknown), id, "malformed"},
		{"an unknown field in the record", sealRecord(t, key, rawPayload{rec, unknown(payload)}), id, "malformed"},
		{"an unknown field in an address", sealRecord(t, key, rawPayload{rec, inField(t, payload, 3, unknown)}), id, "malformed"},
		{"a field of another type", append(bytes.Clone(good), 0x10, 1), id, "malformed"},
		{"a repeated field", append(bytes.Clone(good), 0x2a, 0), id, "malformed"},
		{"a group", append(bytes.Clone(good), 0x33, 0x34), id, "malformed"},
		{"another type", sealRecord(t, key, otherType{rec}), id, "no peer record"},
		{"another domain", sealRecord(t, key, otherDomain{rec}), id, "does not verify"},
		{"a bad signature", badSignature, id, "does not verify"},
		{"a bad signature of another peer", badSignature, other, "not the sender's"},
		{"another peer's", good, other, "not the sender's"},
		{"another peer's, with a key of another type", good, rsaID, "not the sender's"},
		{"signed by another peer", seal(t, otherKey, id, publicAddr), other, "names another peer than its signer"},
		{"signed by another peer, of any owner", seal(t, otherKey, id, publicAddr), "", "names another peer than its signer"},
		{"no addresses", seal(t, key, id), id, "no addresses"},
		{"too many addresses", long, id, "over 2048 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(test.envelope, test.owner)
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Contains(t, invalid.Reason, test.reason)
			require.Less(t, len(invalid.Reason), 80, "it goes to peers")
			require.NotContains(t, invalid.Reason, "proto", "inner details stay inside")
		})
	}
	_, err = Open(good, id)
	require.NoError(t, err)
}

// unknown appends a field that no message has.
func unknown(message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(bytes.Clone(message), 99, protowire.BytesType), []byte("padding"))
}

// inField replaces the contents of the first bytes field of a number.
func inField(t testing.TB, message []byte, number protowire.Number, replace func([]byte) []byte) []byte {
	t.Helper()
	var changed []byte
	done := false
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeField(message)
		require.Positive(t, n)
		whole := message[:n]
		message = message[n:]
		if num != number || typ != protowire.BytesType || done {
			changed = append(changed, whole...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(whole)
		value, _ := protowire.ConsumeBytes(whole[tag:])
		changed = protowire.AppendBytes(append(changed, whole[:tag]...), replace(value))
		done = true
	}
	require.True(t, done)
	return changed
}

// TestNestedGroups: nested groups are refused at the first one, wherever they are.
func TestNestedGroups(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	groups := func(message []byte) []byte {
		return append(bytes.Clone(message), bytes.Repeat([]byte{0x33}, 7<<10)...)
	}
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(publicAddr)
	payload, err := rec.MarshalRecord()
	require.NoError(t, err)
	good := seal(t, key, id, publicAddr)
	for name, envelope := range map[string][]byte{
		"envelope": groups(good),
		"key":      inField(t, good, 1, groups),
		"record":   sealRecord(t, key, rawPayload{rec, groups(payload)}),
		"address":  sealRecord(t, key, rawPayload{rec, inField(t, payload, 3, groups)}),
	} {
		require.LessOrEqual(t, len(envelope), MaxSize)
		_, err := Open(envelope, id)
		require.ErrorContains(t, err, "malformed", name)
		require.LessOrEqual(t, testing.AllocsPerRun(10, func() { _, _ = Open(envelope, id) }), 10.0, name)
	}
}

// FuzzOpen: an envelope that opens is one that libp2p accepts, of a peer that signed it,
// and has nothing in it beyond that.
func FuzzOpen(f *testing.F) {
	for _, envelope := range vectors(f) {
		f.Add(envelope)
		f.Add(unknown(envelope))
	}
	key, id := newKey(f, crypto.Ed25519)
	f.Add(seal(f, key, id, publicAddr, privateAddr))
	f.Add([]byte("\x0a\x00\x12\x02\x03\x01\x1a\x00\x2a\x00"))
	f.Add([]byte("\x33\x34"))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		r, err := Open(envelope, "")
		if err != nil {
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			return
		}
		signed, opened, err := record.ConsumeEnvelope(envelope, peer.PeerRecordEnvelopeDomain)
		require.NoError(t, err)
		require.True(t, r.ID.MatchesPublicKey(signed.PublicKey))
		rec, ok := opened.(*peer.PeerRecord)
		require.True(t, ok)
		require.Equal(t, rec.Seq, r.Seq)
		require.LessOrEqual(t, sizeOf(r.Addrs), MaxAddrsSize)
		require.LessOrEqual(t, len(envelope), 4*MaxAddrsSize+1024, "padding")
		_, err = Open(envelope, r.ID)
		require.NoError(t, err)
	})
}

// addressed is a host with addresses that a test sets.
type addressed struct {
	host.Host
	addrs []ma.Multiaddr
}

func (h *addressed) Addrs() []ma.Multiaddr { return h.addrs }

func newHost(t testing.TB, opts ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// opened returns the current record of o, opened, and its envelope.
func opened(t testing.TB, o *HostRecord) (*Record, []byte) {
	t.Helper()
	envelope, err := o.Envelope()
	require.NoError(t, err)
	r, err := Open(envelope, o.host.ID())
	require.NoError(t, err)
	return r, envelope
}

// TestOwnIsTheHosts: by default the host's own record is used, byte for byte.
func TestOwnIsTheHosts(t *testing.T) {
	h := newHost(t)
	o := NewHostRecord(h, nil, nil)
	r, first := opened(t, o)
	require.ElementsMatch(t, h.Addrs(), r.Addrs)
	_, again := opened(t, o)
	require.Equal(t, first, again)
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	require.True(t, ok)
	theirs, err := book.GetPeerRecord(h.ID()).Marshal()
	require.NoError(t, err)
	require.Equal(t, theirs, first)
}

// TestOwnWithTooManyAddresses: if the host's own record does not fit, one is made that
// does, and stays the same.
func TestOwnWithTooManyAddresses(t *testing.T) {
	var many []ma.Multiaddr
	for i := range 300 {
		many = append(many, ma.StringCast(fmt.Sprintf("/ip4/10.0.%d.%d/tcp/1", i/250, i%250)))
	}
	many = append(many, ma.StringCast(publicAddr))
	o := NewHostRecord(newHost(t, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return slices.Clone(many) })), nil, nil)
	r, first := opened(t, o)
	require.True(t, r.Addrs[0].Equal(ma.StringCast(publicAddr)))
	_, again := opened(t, o)
	require.Equal(t, first, again)
}

// TestOwnChangesWithTheAddresses: the bytes stay the same until the chosen addresses
// change.
func TestOwnChangesWithTheAddresses(t *testing.T) {
	h := &addressed{newHost(t), multiaddrs(loopbackAddr, privateAddr, relayedAddr, publicAddr, dnsAddr)}
	o := NewHostRecord(h, Public, nil)
	r, first := opened(t, o)
	require.Equal(t, multiaddrs(publicAddr, dnsAddr, relayedAddr), r.Addrs)

	h.addrs = multiaddrs(dnsAddr, publicAddr, relayedAddr, "/ip4/192.168.1.3/tcp/1")
	_, again := opened(t, o)
	require.Equal(t, first, again)

	h.addrs = multiaddrs(publicAddr)
	changed, _ := opened(t, o)
	require.Equal(t, multiaddrs(publicAddr), changed.Addrs)
	require.Greater(t, changed.Seq, r.Seq)

	h.addrs = multiaddrs(privateAddr)
	_, err := o.Envelope()
	require.ErrorIs(t, err, ErrNoAddresses)
}

// TestOwnOfBothKinds: the record for rust-libp2p says the same, has the signature that
// rust-libp2p wants, and stays the same as long as the usual one does.
func TestOwnOfBothKinds(t *testing.T) {
	h := &addressed{newHost(t), multiaddrs(publicAddr)}
	o := NewHostRecord(h, Public, nil)
	usual, _ := opened(t, o)
	first, err := o.EnvelopeOf(RoutingState)
	require.NoError(t, err)
	r, err := OpenPaid(first, h.ID(), RoutingState, nil)
	require.NoError(t, err)
	require.Equal(t, usual.Addrs, r.Addrs)
	require.Equal(t, usual.Seq, r.Seq)
	again, err := o.EnvelopeOf(RoutingState)
	require.NoError(t, err)
	require.Equal(t, first, again)

	h.addrs = multiaddrs(dnsAddr)
	moved, err := o.EnvelopeOf(RoutingState)
	require.NoError(t, err)
	r, err = OpenPaid(moved, h.ID(), RoutingState, nil)
	require.NoError(t, err)
	require.Equal(t, multiaddrs(dnsAddr), r.Addrs)

	h.addrs = nil
	_, err = o.EnvelopeOf(RoutingState)
	require.ErrorIs(t, err, ErrNoAddresses)
}

func TestPublic(t *testing.T) {
	given := multiaddrs(loopbackAddr, privateAddr, relayedAddr, publicAddr, dnsAddr)
	before := slices.Clone(given)
	require.Equal(t, multiaddrs(relayedAddr, publicAddr, dnsAddr), Public(given))
	require.Equal(t, before, given, "the argument stays as it is")

	for _, a := range []string{
		"/ip4/0.0.0.0/tcp/1",
		"/ip6/::/udp/1/quic-v1",
		"/ip4/1.2.3.4/tcp/0",
		"/ip4/1.2.3.4/udp/0/quic-v1",
		"/p2p-circuit",
		"/p2p/" + relayID + "/p2p-circuit",
		privateAddr + "/p2p/" + relayID + "/p2p-circuit",
		loopbackAddr + "/p2p/" + relayID + "/p2p-circuit",
		"/ip4/1.2.3.4/tcp/0/p2p/" + relayID + "/p2p-circuit",
		"/ip4/1.2.3.4/tcp/4001/tls/sni/*.example.libp2p.direct/ws",
		"/dns4/localhost/tcp/1",
		"/memory/1",
	} {
		require.Empty(t, Public(multiaddrs(a)), a)
	}
}

// TestFit: if not all addresses fit, the most reachable stay.
func TestFit(t *testing.T) {
	var many []string
	for i := range 60 { // of 54 bytes each
		many = append(many, fmt.Sprintf("/ip4/10.0.0.%d/tcp/1/p2p/%s", i, relayID))
	}
	addrs := multiaddrs(append(append([]string{loopbackAddr}, many...), relayedAddr, publicAddr, publicAddr)...)
	fit := Fit(append(addrs, nil))
	require.Equal(t, multiaddrs(publicAddr, relayedAddr), fit[:2])
	require.LessOrEqual(t, sizeOf(fit), MaxAddrsSize)
	require.Greater(t, sizeOf(fit), MaxAddrsSize-60)
	require.True(t, fit[2].Equal(ma.StringCast(many[0])), "otherwise in the given order")
	require.True(t, fit[len(fit)-1].Equal(ma.StringCast(loopbackAddr)), "a short one fits where no long one does")
	require.Len(t, addrs, 64, "the argument stays as it is")
}

func cachedRecord(id peer.ID, addrs []ma.Multiaddr) *CachedRecord {
	return newCachedRecord(&Record{ID: id, Addrs: addrs}, maphash.MakeSeed())
}

// TestUsable: loopback addresses come only from loopback, private ones only from a
// private address, and never more than 16.
func TestUsable(t *testing.T) {
	privateRelayed := privateAddr + "/p2p/" + relayID + "/p2p-circuit"
	all := multiaddrs(loopbackAddr, privateAddr, relayedAddr, "/ip4/0.0.0.0/tcp/1", privateRelayed, "/ip6/::1/tcp/1", dnsAddr, publicAddr, "/ip4/1.2.3.4/tcp/0")
	public := multiaddrs(dnsAddr, publicAddr, relayedAddr)
	private := append(slices.Clone(public), multiaddrs(privateAddr, privateRelayed)...)
	loopback := append(slices.Clone(private), multiaddrs(loopbackAddr, "/ip6/::1/tcp/1")...)
	r := cachedRecord("", all)
	require.Equal(t, public, r.Usable(ReachOf(nil)))
	require.Equal(t, public, r.Usable(ReachOf(multiaddrs(publicAddr))))
	require.Equal(t, public, r.Usable(ReachOf(multiaddrs(relayedAddr))))
	require.Equal(t, private, r.Usable(ReachOf(multiaddrs(publicAddr, privateAddr))))
	require.Equal(t, loopback, r.Usable(ReachOf(multiaddrs(loopbackAddr))))

	var many []ma.Multiaddr
	for i := range 250 {
		many = append(many, ma.StringCast(fmt.Sprintf("/ip4/192.168.1.2/tcp/%d", i+1)))
	}
	r = cachedRecord("", append(many, multiaddrs(publicAddr)...))
	usable := r.Usable(ReachOf(multiaddrs(privateAddr)))
	require.Len(t, usable, 16)
	require.Equal(t, publicAddr, usable[0].String())
}

// TestMostReachable: the order is that of a stable sort, whatever the order in the record, and
// no address is there twice.
func TestMostReachable(t *testing.T) {
	want := make([]string, 0, 24)
	for _, format := range []string{"/ip4/1.2.3.4/tcp/%d", "/dns4/example.org/tcp/%d", "/ip4/1.2.3.4/udp/%d/p2p/" + relayID + "/p2p-circuit", "/ip4/203.0.113.7/tcp/%d", "/ip4/10.0.0.1/tcp/%d", "/ip6/::1/tcp/%d"} {
		for port := range 4 {
			want = append(want, fmt.Sprintf(format, 1+port))
		}
	}
	rank := func(s string) int {
		a := ma.StringCast(s)
		return 10*int(localScope(a)) + int(scopeOf(a))
	}
	for range 100 {
		mixed := append(slices.Clone(want), want[:8]...)
		mathrand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		var once []string
		for _, a := range mixed {
			if !slices.Contains(once, a) {
				once = append(once, a)
			}
		}
		slices.SortStableFunc(once, func(a, b string) int { return rank(a) - rank(b) })
		require.Equal(t, multiaddrs(once[:maxUsable]...), cachedRecord("", multiaddrs(mixed...)).Usable(Reach(loopbackScope)))
	}
}

// TestHeavyAddresses: what the addresses of a record take in memory is bounded. The addresses of
// usual hosts are within the bounds.
func TestHeavyAddresses(t *testing.T) {
	require.Len(t, cachedRecord("", multiaddrs(sixteenAddrs()...)).Usable(Reach(loopbackScope)), maxUsable)

	hash := strings.TrimPrefix(tenAddrs[3], "/ip4/203.0.113.7/udp/4001/webrtc-direct")
	long := "/ip6zone/eth0/ip6/2001:db8::7/udp/4001/quic-v1/webtransport" + hash + hash + "/p2p/" + relayID + "/p2p-circuit/webrtc/p2p/" + relayID
	require.Equal(t, multiaddrs(long), Fit(multiaddrs(long)))
	require.True(t, dialable(multiaddrs(long)[0]))
	most := publicAddr + strings.Repeat("/ws", maxComponents-2)
	require.Equal(t, multiaddrs(most), cachedRecord("", multiaddrs(most+"/ws", most)).Usable(Reach(loopbackScope)))

	var heavy []string
	for i := range maxUsable {
		heavy = append(heavy, fmt.Sprintf("/ip4/10.0.0.%d/tcp/1", i)+strings.Repeat("/ws", maxComponents-2))
	}
	r := cachedRecord("", multiaddrs(append(heavy, most, loopbackAddr)...))
	require.Less(t, int(r.memory), 300+maxUsableMemory)
	require.Greater(t, int(r.memory), maxUsableMemory*3/4)
	require.Equal(t, multiaddrs(most), r.Usable(Reach(publicScope)), "the most reachable ones stay")
}

// TestAddressesWithID: a peer's addresses are handed out without its ID, which js-libp2p
// appends to each, and those with the ID of another peer are not.
func TestAddressesWithID(t *testing.T) {
	id, err := peer.Decode(relayID)
	require.NoError(t, err)
	other := "/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
	throughOther := publicAddr + other + "/p2p-circuit"
	r := cachedRecord(id, multiaddrs(publicAddr+"/p2p/"+relayID, privateAddr+other, dnsAddr, "/p2p/"+relayID, throughOther+"/p2p/"+relayID))
	require.Equal(t, multiaddrs(publicAddr, dnsAddr, throughOther), r.Usable(ReachOf(multiaddrs(privateAddr))))
}

func TestInvalidError(t *testing.T) {
	inner := errors.New("inner")
	err := &InvalidError{"reason", inner}
	require.ErrorIs(t, err, inner)
	require.Equal(t, "reason: inner", err.Error())
	require.Equal(t, "reason", (&InvalidError{Reason: "reason"}).Error())
}

// BenchmarkCache compares an envelope that the cache knows with some that it does not.
func BenchmarkCache(b *testing.B) {
	key, id := newKey(b, crypto.Ed25519)
	envelope := seal(b, key, id, publicAddr)
	b.Run("known", func(b *testing.B) {
		c := NewCache()
		for b.Loop() {
			_, _, _ = c.Open("a point", envelope)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = NewCache().Open("a point", envelope)
		}
	})
	many := seal(b, key, id, slices.Repeat([]string{"/dns4/a"}, MaxAddrsSize/3)...)
	b.Run("new, of many addresses", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = NewCache().Open("a point", many)
		}
	})
}
