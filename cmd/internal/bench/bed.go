package main

// The hosts: two points and 16 clients, over one transport, on loopback.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

const clients = 16

// live is how long the registrations that a bed starts with live: longer than the bed.
const live = time.Hour

var listen = map[string]string{
	"TCP":  "/ip4/127.0.0.1/tcp/0",
	"QUIC": "/ip4/127.0.0.1/udp/0/quic-v1",
}

// bed is what experiments run on.
type bed struct {
	transport string
	memory    *point
	leveldb   *point
	clients   []*client
	closers   []func() error
}

// client is a peer. What it asks is signed and encoded before anything is measured.
type client struct {
	host    host.Host
	library *rendezvous.Client
	again   []byte   // a request to register with the record that the library uses
	first   [][]byte // requests to register, each in another namespace with another record
}

// maxFirst is how many namespaces a peer may be in by default.
const maxFirst = 1000

func newBed(ctx context.Context, transport string, others []identity) (b *bed, err error) {
	b = &bed{transport: transport}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.memory, err = b.newPoint(ctx, openMemory, others); err != nil {
		return nil, err
	}
	if b.leveldb, err = b.newPoint(ctx, openLevelDB, others); err != nil {
		return nil, err
	}
	for range clients {
		c, err := b.newClient(ctx)
		if err != nil {
			return nil, err
		}
		b.clients = append(b.clients, c)
	}
	return b, nil
}

func (b *bed) close() {
	for _, c := range slices.Backward(b.closers) {
		if err := c(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: close:", err)
		}
	}
}

func (b *bed) newHost() (host.Host, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings(listen[b.transport]))
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, h.Close)
	return h, nil
}

func (b *bed) newPoint(ctx context.Context, open openStorage, others []identity) (*point, error) {
	h, err := b.newHost()
	if err != nil {
		return nil, err
	}
	p := &point{host: h, open: open, others: others}
	h.SetStreamHandler(echoID, p.echo.handle)
	b.closers = append(b.closers, p.stop)
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (b *bed) newClient(ctx context.Context) (*client, error) {
	h, err := b.newHost()
	if err != nil {
		return nil, err
	}
	c := &client{host: h, library: rendezvous.NewClient(h)}
	if err := c.sign(); err != nil {
		return nil, err
	}
	for _, p := range []*point{b.memory, b.leveldb} {
		if err := h.Connect(ctx, peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// sign makes the requests that a client has in store.
func (c *client) sign() error {
	book, ok := peerstore.GetCertifiedAddrBook(c.host.Peerstore())
	if !ok {
		return errors.New("the host keeps no signed records")
	}
	own, err := book.GetPeerRecord(c.host.ID()).Marshal()
	if err != nil {
		return err
	}
	if c.again, err = register(again, own); err != nil {
		return err
	}
	records, err := newRecords(c.host.Peerstore().PrivKey(c.host.ID()), c.host.Addrs(), maxFirst)
	if err != nil {
		return err
	}
	for i, r := range records {
		f, err := register(fmt.Sprintf("bench/first/%03d", i), r)
		if err != nil {
			return err
		}
		c.first = append(c.first, f)
	}
	return nil
}

func register(ns string, record []byte) ([]byte, error) {
	return frame(&pb.Message{
		Type: pb.Message_REGISTER,
		Register: &pb.Message_Register{
			Ns: ns, SignedPeerRecord: record, Ttl: int64(rendezvous.MaxTTL / time.Second),
		},
	})
}

// point is a rendezvous point with an echo beside it.
type point struct {
	host   host.Host
	echo   echo
	open   openStorage
	others []identity // who is registered in it from the start

	refreshed time.Time // when the small namespace last was

	storage rendezvous.Storage
	service *rendezvous.RendezvousService
	close   func() error
}

// openStorage opens an empty storage and returns what closes it.
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

// start begins to serve with the registrations that were there from the start.
func (p *point) start(ctx context.Context) error {
	return p.serve(func(s rendezvous.Storage) error { return fill(ctx, s, p.others) })
}

// restart serves on with an empty storage.
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
	p.storage, p.close = s, closeStorage
	if err := fill(s); err != nil {
		return err
	}
	p.service = rendezvous.NewRendezvousService(p.host, s, serviceOptions()...)
	return p.service.Start()
}

// serviceOptions are the defaults, but for a rate limit that counts and never limits.
func serviceOptions() []rendezvous.ServiceOption {
	return []rendezvous.ServiceOption{rendezvous.WithRateLimit(1e6, 1e6)}
}

func (p *point) stop() error {
	if p.service != nil {
		p.service.Stop()
		p.service = nil
	}
	if p.close == nil {
		return nil
	}
	c := p.close
	p.close = nil
	return c()
}

// The namespaces that a point has from the start, and one that clients are in.
const (
	small = "bench/1000"
	large = "bench/100000"
	again = "bench/again"
)

// fill registers everyone in the large namespace and the first thousand in the small one.
func fill(ctx context.Context, s rendezvous.Storage, others []identity) error {
	return errors.Join(
		add(ctx, s, large, others, live),
		add(ctx, s, small, others[:min(1000, len(others))], live))
}

func add(ctx context.Context, s rendezvous.Storage, ns string, others []identity, live time.Duration) error {
	deadline := time.Now().Add(live)
	return inParallel(len(others), func(i int) error {
		r := rendezvous.Record{Namespace: ns, Peer: others[i].id, Envelope: others[i].record, Deadline: deadline}
		return s.Add(ctx, r, rendezvous.Quota{})
	})
}

// refresh registers the small namespace again, for as long as the wire allows, once
// half of that is over, as peers do: a client takes no longer time than that for what
// it is, but for new at every moment.
func (p *point) refresh(ctx context.Context) error {
	if time.Since(p.refreshed) < rendezvous.MaxTTL/2 {
		return nil
	}
	p.refreshed = time.Now()
	return add(ctx, p.storage, small, p.others[:1000], rendezvous.MaxTTL)
}

// identity is a peer that is only known by its record.
type identity struct {
	id     peer.ID
	record []byte
}

// newIdentities makes n peers, each with a record of two addresses that it signed.
func newIdentities(n int) ([]identity, error) {
	addrs := []ma.Multiaddr{
		ma.StringCast("/ip4/203.0.113.7/tcp/30303"),
		ma.StringCast("/ip4/203.0.113.7/udp/30303/quic-v1"),
	}
	made := make([]identity, n)
	return made, inParallel(n, func(i int) error {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			return err
		}
		signed, err := newRecords(key, addrs, 1)
		if err != nil {
			return err
		}
		id, err := peer.IDFromPrivateKey(key)
		made[i] = identity{id: id, record: signed[0]}
		return err
	})
}

// newRecords signs n records for a key, each newer than the one before.
func newRecords(key crypto.PrivKey, addrs []ma.Multiaddr, n int) ([][]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	made := make([][]byte, n)
	return made, inParallel(n, func(i int) error {
		rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: id, Addrs: addrs})
		rec.Seq += uint64(i)
		signed, err := record.Seal(rec, key)
		if err != nil {
			return err
		}
		made[i], err = signed.Marshal()
		return err
	})
}

// inParallel calls do for 0 to n-1, a few at a time, and returns their errors.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for w := range clients {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += clients {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
