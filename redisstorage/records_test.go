package redisstorage

// Records, peers and quotas for tests.

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// largeQuota refuses nothing that a test adds, but makes the scripts check limits.
var largeQuota = rendezvous.Quota{PerPeer: 1000, PerOrigin: 10_000, Total: 1_000_000, Bytes: 1 << 30}

var testOrigin = netip.MustParseAddr("2001:db8::1")

// testPeer returns an ID for each i, as of an Ed25519 key.
func testPeer(i int) peer.ID {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return peer.ID("\x00\x24\x08\x01\x12\x20" + string(key[:]))
}

func testRecord(ns string, i int, ttl time.Duration) rendezvous.Record {
	return rendezvous.Record{
		Namespace: ns,
		Peer:      testPeer(i),
		Envelope:  fmt.Append(nil, "envelope of ", i),
		Deadline:  time.Now().Add(ttl),
	}
}

// mustAdd adds records.
func mustAdd(t *testing.T, s *Storage, records ...rendezvous.Record) {
	t.Helper()
	for _, r := range records {
		require.NoError(t, s.Add(t.Context(), r, largeQuota))
	}
}

// mustSample returns all records of a namespace.
func mustSample(t *testing.T, s *Storage, ns string) []rendezvous.Record {
	t.Helper()
	got, err := s.Sample(t.Context(), ns, 10_000, 0)
	require.NoError(t, err)
	return got
}
