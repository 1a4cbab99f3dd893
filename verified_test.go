package rendezvous

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func sealedRecords(t testing.TB, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for range n {
		key, id := newKey(t, crypto.Ed25519)
		all = append(all, seal(t, key, id, addr))
	}
	return all
}

// TestVerifiedOnce: byte for byte the same is not verified again, whichever point
// has it; anything else is.
func TestVerifiedOnce(t *testing.T) {
	v := newVerified()
	envelope := sealedRecords(t, 1)[0]
	first, _, err := v.open("a point", envelope)
	require.NoError(t, err)
	for _, point := range []peer.ID{"a point", "another"} {
		again, _, err := v.open(point, append([]byte(nil), envelope...))
		require.NoError(t, err)
		require.Same(t, first, again)
	}
	for i := range envelope {
		forged := append([]byte(nil), envelope...)
		forged[i] ^= 1
		o, _, err := v.open("a point", forged)
		if err == nil { // as another record that holds, never as the one that was verified
			require.NotSame(t, first, o)
		}
	}
	envelope[0] ^= 1 // the caller's own
	require.NotEqual(t, envelope, first.envelope)
}

// TestVerifiedIsBounded: a hostile point pushes out what it sent itself, and no more
// than its share is kept of that.
func TestVerifiedIsBounded(t *testing.T) {
	v := newVerified()
	honest := sealedRecords(t, 20)
	for _, e := range honest {
		_, _, err := v.open("hostile", e) // it may know them, too, and be first
		require.NoError(t, err)
		_, _, err = v.open("honest", e)
		require.NoError(t, err)
	}
	key, id := newKey(t, crypto.Ed25519)
	for i := range maxShareEntries + 100 {
		_, _, err := v.open("hostile", seal(t, key, id, fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+i)))
		require.NoError(t, err)
	}
	hostile := v.shares["hostile"]
	for _, h := range []half{hostile.young, hostile.old} {
		require.LessOrEqual(t, len(h.entries), maxShareEntries/2)
		require.LessOrEqual(t, h.size, maxShareSize/2)
		size := 0
		for _, o := range h.entries {
			size += len(o.envelope)
		}
		require.Equal(t, size, h.size)
	}
	for _, e := range honest {
		require.NotNil(t, v.shares["honest"].find(v.hash(e)))
		require.Nil(t, hostile.find(v.hash(e)))
	}
	for i := range 3 * maxShares {
		_, _, err := v.open(peer.ID(fmt.Sprint(i)), honest[0])
		require.NoError(t, err)
		_, _, err = v.open("honest", honest[0])
		require.NoError(t, err)
	}
	require.Len(t, v.shares, maxShares)
	require.Contains(t, v.shares, peer.ID("honest"), "the one in use stays")
}

// BenchmarkAccept: an answer of 50 registrations, none of which was seen before, and
// one that was.
func BenchmarkAccept(b *testing.B) {
	h := newHost(b)
	var answer []claim
	for _, e := range sealedRecords(b, 50) {
		answer = append(answer, claim{namespace: []byte("n"), envelope: e, ttl: 20})
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			require.Len(b, NewClient(h).accept("a point", "n", answer), len(answer))
		}
	})
	b.Run("known", func(b *testing.B) {
		c := NewClient(h)
		for b.Loop() {
			require.Len(b, c.accept("a point", "n", answer), len(answer))
		}
	})
}
