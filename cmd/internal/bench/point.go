package main

// A rendezvous point with an echo on the same host, and the registrations that it
// starts with.

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The namespaces that a point starts with, and the one in which clients register again.
const (
	smallNamespace = "bench/1000"
	largeNamespace = "bench/100000"
	againNamespace = "bench/again"
)

const smallSize = 1000 // registrations in smallNamespace

// initialTTL is the TTL of the registrations that a point starts with. They must not
// expire while the program runs.
const initialTTL = time.Hour

type point struct {
	host       host.Host
	echo       echo
	open       openStorage
	registered []identity // at the start

	storage      rendezvous.Storage
	closeStorage func() error
	service      *rendezvous.RendezvousService

	smallRefreshed time.Time // when refreshSmall last refreshed smallNamespace
}

// openStorage opens an empty storage and returns a function that closes it.
type openStorage func() (rendezvous.Storage, func() error, error)

func openMemory() (rendezvous.Storage, func() error, error) {
	s := rendezvous.NewMemoryStorage()
	return s, s.Close, nil
}

func openLevelDB() (rendezvous.Storage, func() error, error) {
	dir, err := os.MkdirTemp("", "rendezvous-bench-")
	if err != nil {
		return nil, nil, err
	}
	db, err := rendezvous.OpenLevelDB(dir)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := rendezvous.NewStorage(db)
	return s, func() error { return errors.Join(s.Close(), db.Close(), os.RemoveAll(dir)) }, nil
}

func (p *point) addrs() peer.AddrInfo { return peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()} }

// start starts the service with the initial registrations.
func (p *point) start(ctx context.Context) error {
	return p.serve(func(s rendezvous.Storage) error {
		return errors.Join(
			addAll(ctx, s, largeNamespace, p.registered, initialTTL),
			addAll(ctx, s, smallNamespace, p.registered[:min(smallSize, len(p.registered))], initialTTL))
	})
}

// restart stops the service and starts it again with an empty storage.
func (p *point) restart() error {
	if err := p.stop(); err != nil {
		return err
	}
	return p.serve(func(rendezvous.Storage) error { return nil })
}

func (p *point) serve(fill func(rendezvous.Storage) error) error {
	s, closeStorage, err := p.open()
	if err != nil {
		return err
	}
	p.storage, p.closeStorage = s, closeStorage
	if err := fill(s); err != nil {
		return err
	}
	// The defaults, but limits on requests and bytes that no client reaches. They
	// still count.
	p.service = rendezvous.NewRendezvousService(p.host, s, rendezvous.WithRateLimit(1e6, 1e6), rendezvous.WithEgressLimit(math.MaxInt32, math.MaxInt32))
	return p.service.Start()
}

func (p *point) stop() error {
	if p.service != nil {
		p.service.Stop()
		p.service = nil
	}
	if p.closeStorage == nil {
		return nil
	}
	closeStorage := p.closeStorage
	p.closeStorage = nil
	return closeStorage()
}

// refreshSmall refreshes the registrations in smallNamespace when half of their TTL is
// over, as peers do. The TTL is the maximum of the protocol: a client clamps a longer one,
// so each answer would look as if the registrations had just been refreshed.
func (p *point) refreshSmall(ctx context.Context) error {
	if time.Since(p.smallRefreshed) < rendezvous.MaxTTL/2 {
		return nil
	}
	p.smallRefreshed = time.Now()
	return addAll(ctx, p.storage, smallNamespace, p.registered[:smallSize], rendezvous.MaxTTL)
}

func addAll(ctx context.Context, s rendezvous.Storage, ns string, ids []identity, ttl time.Duration) error {
	deadline := time.Now().Add(ttl)
	return forEach(len(ids), func(i int) error {
		r := rendezvous.Record{Namespace: ns, Peer: ids[i].id, Envelope: ids[i].record, Deadline: deadline, Origin: fakeOrigin(i)}
		return s.Add(ctx, r, quota)
	})
}

// quota has limits that are checked but never reached.
var quota = rendezvous.Quota{PerPeer: 1000, PerOrigin: 1000, Total: 10_000_000, Bytes: 1 << 40}

// fakeOrigin returns an IPv4 address, which has 100 of the registrations.
func fakeOrigin(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24|uint32(i/100))))
}
