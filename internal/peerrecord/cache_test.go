package peerrecord

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestVerifiedOnce: the same bytes are not verified again, whichever source sent them.
// All other bytes are.
func TestVerifiedOnce(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	for name, envelope := range map[string][]byte{
		"kept":   sealMany(t, 1)[0],
		"hashed": seal(t, key, id, slices.Repeat(tenAddrs, 2)...),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, name == "kept", len(envelope) <= maxKept)
			testVerifiedOnce(t, envelope)
		})
	}
}

func testVerifiedOnce(t *testing.T, envelope []byte) {
	t.Helper()
	c := NewCache()
	first, cached, err := c.Open("a source", envelope)
	require.NoError(t, err)
	require.False(t, cached)
	for _, source := range []peer.ID{"a source", "another"} {
		again, cached, err := c.Open(source, bytes.Clone(envelope))
		require.NoError(t, err)
		require.True(t, cached)
		require.Same(t, first, again)
	}
	for i := range envelope {
		forged := bytes.Clone(envelope)
		forged[i] ^= 1
		_, cached, err := c.Open("a source", forged)
		require.Error(t, err)
		require.False(t, cached)
	}
	sent := bytes.Clone(envelope)
	envelope[0] ^= 1 // the caller may
	require.True(t, first.isOf(sent))
	_, cached, err = c.Open("a source", sent)
	require.NoError(t, err)
	require.True(t, cached)
}

// TestOpenOfCache: it returns the same errors as Open.
func TestOpenOfCache(t *testing.T) {
	c := NewCache()
	for _, envelope := range [][]byte{nil, make([]byte, MaxSize), make([]byte, MaxSize+1)} {
		_, want := Open(envelope, "")
		_, cached, err := c.Open("a source", envelope)
		require.Equal(t, want, err)
		require.False(t, cached)
	}
}

// checkShares checks that no share is larger than it may be, or than it says.
func checkShares(t *testing.T, c *Cache) {
	t.Helper()
	require.LessOrEqual(t, c.shares.Len(), maxShares)
	require.LessOrEqual(t, c.memory(), maxMemory)
	for _, s := range c.shares.Values() {
		memory := 0
		for hash, r := range s.records {
			memory += int(r.memory)
			require.Contains(t, s.queue, hash)
		}
		require.Len(t, s.queue, len(s.records))
		require.Equal(t, memory, s.memory)
		require.LessOrEqual(t, memory, maxShareMemory)
		require.LessOrEqual(t, len(s.records), maxShareRecords)
	}
}

// TestShares: a hostile source displaces what is in its own share, and nothing else.
func TestShares(t *testing.T) {
	c := NewCache()
	honest := sealMany(t, 20)
	for _, envelope := range honest {
		_, _, err := c.Open("hostile", envelope) // it may know them, too, and be first
		require.NoError(t, err)
		_, _, err = c.Open("honest", envelope)
		require.NoError(t, err)
	}
	key, id := newKey(t, crypto.Ed25519)
	for i := range maxShareRecords + 100 {
		_, _, err := c.Open("hostile", seal(t, key, id, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i)))
		require.NoError(t, err)
	}
	checkShares(t, c)
	require.Len(t, c.share("hostile").records, maxShareRecords)
	for _, envelope := range honest {
		_, cached, err := c.Open("honest", envelope)
		require.NoError(t, err)
		require.True(t, cached)
	}
	for i := range 3 * maxShares {
		_, _, err := c.Open(peer.ID(fmt.Sprint(i)), honest[0])
		require.NoError(t, err)
		_, _, err = c.Open("honest", honest[0])
		require.NoError(t, err)
	}
	checkShares(t, c)
	require.Equal(t, maxShares, c.shares.Len())
	require.True(t, c.shares.Contains("honest"), "the one in use stays")
}

// TestMemoryOfAllShares: if all shares together take too much, those go that were not used for
// the longest time.
func TestMemoryOfAllShares(t *testing.T) {
	c := NewCache()
	for i := range maxShares {
		c.share(peer.ID(fmt.Sprint(i))).add(1, &CachedRecord{memory: maxShareMemory})
	}
	_, _, err := c.Open("0", sealMany(t, 1)[0])
	require.NoError(t, err)
	checkShares(t, c)
	require.Equal(t, 1+maxMemory/maxShareMemory, c.shares.Len(), "its own has only the new record")
	require.True(t, c.shares.Contains("0"))
	require.True(t, c.shares.Contains(peer.ID(fmt.Sprint(maxShares-1))))
}

// TestHeavyRecords: the heaviest records that there can be in an answer do not displace others
// of the same answer. None is verified again.
func TestHeavyRecords(t *testing.T) {
	const answer, maxAnswer = 1000, 4 << 20
	key, id := newKey(t, crypto.Ed25519)
	for _, heavy := range []int{900, answer} {
		all := sealMany(t, answer-heavy)
		for i := range heavy {
			all = append(all, heavyRecord(t, key, id, maxAnswer/answer, i))
		}
		require.LessOrEqual(t, len(slices.Concat(all...)), maxAnswer)
		c := NewCache()
		for round := range 4 {
			rand.Shuffle(answer, func(i, j int) { all[i], all[j] = all[j], all[i] })
			for i, r := range c.Find(nil, "a point", all) {
				require.Equal(t, round > 0, r != nil)
				if r == nil {
					_, _, err := c.Open("a point", all[i])
					require.NoError(t, err)
				}
			}
		}
		checkShares(t, c)
		require.Greater(t, c.memory(), heavy*maxUsableMemory*9/10)
	}
}

// heavyRecord returns a record of about size bytes whose usable addresses take as much memory as
// they may.
func heavyRecord(t testing.TB, key crypto.PrivKey, id peer.ID, size, i int) []byte {
	t.Helper()
	var addrs []string
	for j := range maxUsable {
		addrs = append(addrs, fmt.Sprintf("/ip4/1.2.3.%d/tcp/%d", j, 1+i)+strings.Repeat("/ws", maxComponents-2))
	}
	rec := recordBytes(t, id, addrs...)
	empty := []byte("\x1a\x00") // an address
	rec = append(rec, bytes.Repeat(empty, (size-len(rec)-160)/len(empty))...)
	return sealRecord(t, key, rawPayload{peer.NewPeerRecord(), rec})
}

// TestPay: the source pays by the key and the size of an envelope.
func TestPay(t *testing.T) {
	c, envelope, paid := NewCache(), sealMany(t, 1)[0], 0
	c.Pay = func(source peer.ID, _ crypto.PubKey, size int) error {
		require.EqualValues(t, "a source", source)
		paid += size
		return nil
	}
	for range 2 {
		_, _, err := c.Open("a source", envelope)
		require.NoError(t, err)
	}
	require.Equal(t, len(envelope), paid)
}

// TestUsedRecordsStay: records that are used again and again are not displaced by new ones.
func TestUsedRecordsStay(t *testing.T) {
	c := NewCache()
	used := sealMany(t, 20)
	key, id := newKey(t, crypto.Ed25519)
	for i := range maxShareRecords + maxShareRecords/2 {
		_, _, err := c.Open("a source", seal(t, key, id, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i)))
		require.NoError(t, err)
		if i%(maxShareRecords/4) != 0 {
			continue
		}
		for _, envelope := range used {
			_, cached, err := c.Open("a source", envelope)
			require.NoError(t, err)
			require.Equal(t, i > 0, cached, i)
		}
	}
	checkShares(t, c)
}

// TestFind: it returns what the cache has, in the order of the envelopes, and verifies
// nothing.
func TestFind(t *testing.T) {
	c := NewCache()
	envelopes := sealMany(t, 5)
	for _, envelope := range envelopes[1:3] {
		_, _, err := c.Open("another source", envelope)
		require.NoError(t, err)
	}
	found := c.Find([]*CachedRecord{nil}, "a source", append(envelopes, nil, envelopes[1]))
	require.Len(t, found, 8)
	for i, want := range [][]byte{nil, nil, envelopes[1], envelopes[2], nil, nil, nil, envelopes[1]} {
		require.Equal(t, want == nil, found[i] == nil, i)
		if want != nil {
			require.True(t, found[i].isOf(want))
		}
	}
}

// TestSameHash: a record is not taken for another that has the same hash.
func TestSameHash(t *testing.T) {
	c := NewCache()
	envelopes := sealMany(t, 2)
	r, _, err := c.Open("a source", envelopes[0])
	require.NoError(t, err)
	c.share("a source").add(maphash.Bytes(c.seed, envelopes[1]), r)
	require.Equal(t, []*CachedRecord{r, nil}, c.Find(nil, "a source", envelopes))
}

// TestCacheOfBothKinds: a cache opens records of either kind, each by its own domain.
func TestCacheOfBothKinds(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, multiaddrs(publicAddr)
	c := NewCache()
	good := sealRecord(t, key, &routingState{*rec})
	for _, known := range []bool{false, true} {
		r, cached, err := c.Open("source", good)
		require.NoError(t, err)
		require.Equal(t, id, r.ID)
		require.Equal(t, known, cached)
	}
	forged := inField(t, good, envelopePayloadType, func([]byte) []byte { return peer.PeerRecordEnvelopePayloadType })
	_, _, err := c.Open("source", forged)
	require.ErrorContains(t, err, "does not verify")
}

// TestMemory: what a cache counts is what records take.
func TestMemory(t *testing.T) {
	key, id := newKey(t, crypto.Ed25519)
	for name, envelope := range map[string]func(i int) []byte{
		"one address": func(i int) []byte { return seal(t, key, id, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i)) },
		"usual addresses": func(i int) []byte {
			return seal(t, key, id, append(usualAddrs, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i))...)
		},
		"ten addresses": func(i int) []byte {
			return seal(t, key, id, append(tenAddrs, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i))[1:]...)
		},
		"sixteen addresses": func(i int) []byte {
			return seal(t, key, id, append(sixteenAddrs(), fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i))[1:]...)
		},
		"heavy addresses": func(i int) []byte { return heavyRecord(t, key, id, MaxSize, i) },
		"many addresses": func(i int) []byte {
			addrs := slices.Repeat([]string{"/p2p-circuit"}, (MaxAddrsSize-7)/2)
			return seal(t, key, id, append(addrs, fmt.Sprintf("/ip4/1.2.3.4/udp/%d", 1+i))[1:]...)
		},
		"one long address": func(i int) []byte {
			return seal(t, key, id, strings.Repeat("/p2p-circuit", 1000)+fmt.Sprintf("/tcp/%d", 1+i))
		},
		"empty addresses": func(i int) []byte {
			rec := recordBytes(t, id, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i))
			return sealRecord(t, key, rawPayload{peer.NewPeerRecord(), append(rec, bytes.Repeat([]byte("\x1a\x00"), 3900)...)})
		},
		"one long component": func(i int) []byte {
			return seal(t, key, id, fmt.Sprintf("/dns/%s/tcp/%d", strings.Repeat("a", 2000), 1+i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 100
			envelopes := make([][]byte, n)
			for i := range envelopes {
				envelopes[i] = envelope(i)
			}
			before := heapSize()
			c := NewCache()
			for _, envelope := range envelopes {
				_, _, err := c.Open("a source", envelope)
				require.NoError(t, err)
			}
			records := len(c.share("a source").records)
			taken := float64(heapSize()-before) / float64(records)
			counted := float64(c.share("a source").memory) / float64(records)
			t.Logf("%d records of %d bytes: take %.0f bytes each, counted as %.0f", records, len(envelopes[0]), taken, counted)
			require.InEpsilon(t, taken, counted, 0.35)
			runtime.KeepAlive(envelopes)
		})
	}
}

func heapSize() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCacheAtTheSameTime: many goroutines open the same records from several sources.
func TestCacheAtTheSameTime(t *testing.T) {
	c := NewCache()
	envelopes := sealMany(t, 10)
	key, id := newKey(t, crypto.Ed25519)
	for i := range 40 {
		envelopes = append(envelopes, heavyRecord(t, key, id, MaxSize, i))
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for range 200 {
				envelope := envelopes[random.IntN(len(envelopes))]
				r, _, err := c.Open(peer.ID(fmt.Sprint(random.IntN(20))), envelope)
				if err != nil || !r.isOf(envelope) {
					t.Error("opened something else:", err)
				}
			}
		})
	}
	all.Wait()
	checkShares(t, c)
}

// usualAddrs are addresses as a host with a public address has them.
var usualAddrs = []string{
	"/ip4/10.0.0.7/tcp/4001", "/ip4/10.0.0.7/udp/4001/quic-v1", "/ip4/203.0.113.7/tcp/4001",
	"/ip4/203.0.113.7/udp/4001/quic-v1", "/ip6/2001:db8::7/tcp/4001", "/ip6/2001:db8::7/udp/4001/quic-v1",
}

// tenAddrs are the addresses of a host that listens on everything that go-libp2p has.
var tenAddrs = []string{
	"/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1",
	"/ip4/203.0.113.7/udp/4001/quic-v1/webtransport/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ/certhash/uEiAfbgiymPP2_nX7Dgir8B4QkksjHp2lVuJZz0F79Be9JA",
	"/ip4/203.0.113.7/udp/4001/webrtc-direct/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ",
	"/ip6/2001:db8::7/tcp/4001", "/ip6/2001:db8::7/udp/4001/quic-v1",
	"/ip6/2001:db8::7/udp/4001/quic-v1/webtransport/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ/certhash/uEiAfbgiymPP2_nX7Dgir8B4QkksjHp2lVuJZz0F79Be9JA",
	"/ip6/2001:db8::7/udp/4001/webrtc-direct/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ",
	"/dns4/node.example.org/tcp/443/tls/ws", "/ip4/10.0.0.7/tcp/4001",
}

// sixteenAddrs are those of such a host with a second public address.
func sixteenAddrs() []string {
	addrs := slices.Clone(tenAddrs)
	for _, a := range tenAddrs[:4] {
		addrs = append(addrs, strings.Replace(a, "203.0.113.7", "203.0.113.8", 1))
	}
	for _, a := range tenAddrs[2:4] {
		addrs = append(addrs, strings.Replace(a, "203.0.113.7", "10.0.0.7", 1))
	}
	return addrs
}

// sealMany returns records of n peers with the usual addresses.
func sealMany(t testing.TB, n int) [][]byte {
	t.Helper()
	all := make([][]byte, n)
	for i := range all {
		key, id := newKey(t, crypto.Ed25519)
		all[i] = seal(t, key, id, usualAddrs...)
	}
	return all
}

// recordBytes returns the payload of a peer record.
func recordBytes(t testing.TB, id peer.ID, addrs ...string) []byte {
	t.Helper()
	rec := peer.PeerRecord{PeerID: id, Seq: 1, Addrs: multiaddrs(addrs...)}
	b, err := rec.MarshalRecord()
	require.NoError(t, err)
	return b
}
