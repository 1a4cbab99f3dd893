package main

// Filling a storage.

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

var (
	fullSize = flag.Int("n", 1_000_000, "number of registrations in a full storage")
	ttl      = flag.Duration("lifetime", 5*time.Minute, "TTL of registrations that must not expire while a storage fills")
)

const (
	sampleSize = 50   // of Sample
	pageSize   = 1000 // of Page
)

// envelopeSize is the size of the signed record of a peer with an Ed25519 key and two
// addresses.
const envelopeSize = 224

// quota returns limits that are checked but never reached.
func quota() rendezvous.Quota {
	return rendezvous.Quota{PerPeer: 1000, PerOrigin: 1000, Total: 10 * *fullSize, Bytes: 10_000 * int64(*fullSize)}
}

// fakeOrigin returns an IPv4 address, which has 100 of the peers.
func fakeOrigin(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24|uint32(i/100))))
}

// fakePeerID returns an ID of the form that Ed25519 keys have, and that depends on i.
func fakePeerID(i int) peer.ID {
	id := make([]byte, 6+ed25519.PublicKeySize)
	copy(id, "\x00\x24\x08\x01\x12\x20")
	x := uint64(i)
	for at := 6; at < len(id); at += 8 {
		x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
		binary.LittleEndian.PutUint64(id[min(at, len(id)-8):], x^x>>31)
	}
	return peer.ID(id)
}

// filler makes records. All of them share one envelope buffer, so that making them leaves
// no garbage.
type filler struct {
	envelope   [envelopeSize]byte
	namespaces int
}

func newFiller(namespaces int) *filler { return &filler{namespaces: namespaces} }

// record returns the record of peer i. Its envelope is valid until the next call.
func (f *filler) record(i int, deadline time.Time) rendezvous.Record {
	binary.LittleEndian.PutUint64(f.envelope[:], uint64(i))
	return rendezvous.Record{
		Namespace: namespace(i % f.namespaces),
		Peer:      fakePeerID(i),
		Envelope:  f.envelope[:],
		Deadline:  deadline,
		Origin:    fakeOrigin(i),
	}
}

func namespace(i int) string { return fmt.Sprintf("/waku/2/namespace/%d", i) }

// fill adds the records of n peers.
func (f *filler) fill(s rendezvous.Storage, n int, deadline time.Time) error {
	for i := range n {
		if err := s.Add(context.Background(), f.record(i, deadline), quota()); err != nil {
			return fmt.Errorf("add registration %d: %w", i, err)
		}
	}
	return nil
}
