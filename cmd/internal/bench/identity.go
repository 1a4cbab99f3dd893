package main

// Keys and signed peer records, made in parallel.

import (
	"crypto/rand"
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// identity is a peer that has a signed record but no host.
type identity struct {
	id     peer.ID
	record []byte // signed
}

// newIdentities makes n peers, whose records have two addresses.
func newIdentities(n int) ([]identity, error) {
	addrs := []ma.Multiaddr{
		ma.StringCast("/ip4/203.0.113.7/tcp/30303"),
		ma.StringCast("/ip4/203.0.113.7/udp/30303/quic-v1"),
	}
	ids := make([]identity, n)
	return ids, forEach(n, func(i int) error {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			return err
		}
		records, err := newRecords(key, addrs, 1)
		if err != nil {
			return err
		}
		id, err := peer.IDFromPrivateKey(key)
		ids[i] = identity{id: id, record: records[0]}
		return err
	})
}

// newRecords signs n records of a key's peer, with increasing sequence numbers.
func newRecords(key crypto.PrivKey, addrs []ma.Multiaddr, n int) ([][]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	records := make([][]byte, n)
	return records, forEach(n, func(i int) error {
		rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: id, Addrs: addrs})
		rec.Seq += uint64(i)
		envelope, err := record.Seal(rec, key)
		if err != nil {
			return err
		}
		records[i], err = envelope.Marshal()
		return err
	})
}

// forEach calls f for 0 to n-1 from several goroutines, each of which stops at its first
// error. It returns all errors.
func forEach(n int, f func(i int) error) error {
	const goroutines = 16
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n && errs[g] == nil; i += goroutines {
				errs[g] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
