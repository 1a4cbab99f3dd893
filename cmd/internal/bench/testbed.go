package main

// The hosts of the experiments: two points and 16 clients, connected over loopback with
// one transport.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const numClients = 16

var listenAddrs = map[string]string{
	"TCP":  "/ip4/127.0.0.1/tcp/0",
	"QUIC": "/ip4/127.0.0.1/udp/0/quic-v1",
}

type testbed struct {
	transport string
	memory    *point
	levelDB   *point
	clients   []*client
	closers   []func() error
}

// client is a peer. Its requests are signed and encoded before anything is measured.
type client struct {
	host          host.Host
	library       *rendezvous.Client
	registerAgain []byte   // a request with the host's own signed record, for againNamespace
	registerFirst [][]byte // requests, each for another namespace with another record
}

// numRegisterFirst is the default limit of registrations per peer.
const numRegisterFirst = 1000

func newTestbed(ctx context.Context, transport string, registered []identity) (b *testbed, err error) {
	b = &testbed{transport: transport}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.memory, err = b.newPoint(ctx, openMemory, registered); err != nil {
		return nil, err
	}
	if b.levelDB, err = b.newPoint(ctx, openLevelDB, registered); err != nil {
		return nil, err
	}
	for range numClients {
		c, err := b.newClient(ctx)
		if err != nil {
			return nil, err
		}
		b.clients = append(b.clients, c)
	}
	return b, nil
}

// close closes everything in reverse order.
func (b *testbed) close() {
	for _, c := range slices.Backward(b.closers) {
		if err := c(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: close:", err)
		}
	}
}

func (b *testbed) newHost() (host.Host, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings(listenAddrs[b.transport]))
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, h.Close)
	return h, nil
}

// hosts returns the hosts of the clients.
func (b *testbed) hosts() []host.Host {
	hosts := make([]host.Host, len(b.clients))
	for i, c := range b.clients {
		hosts[i] = c.host
	}
	return hosts
}

func (b *testbed) newPoint(ctx context.Context, open openStorage, registered []identity) (*point, error) {
	h, err := b.newHost()
	if err != nil {
		return nil, err
	}
	p := &point{host: h, open: open, registered: registered}
	h.SetStreamHandler(echoID, p.echo.handle)
	b.closers = append(b.closers, p.stop)
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (b *testbed) newClient(ctx context.Context) (*client, error) {
	h, err := b.newHost()
	if err != nil {
		return nil, err
	}
	c := &client{host: h, library: rendezvous.NewClient(h)}
	if err := c.makeRequests(); err != nil {
		return nil, err
	}
	for _, p := range []*point{b.memory, b.levelDB} {
		if err := h.Connect(ctx, p.addrs()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *client) makeRequests() error {
	book, ok := peerstore.GetCertifiedAddrBook(c.host.Peerstore())
	if !ok {
		return errors.New("the peerstore holds no signed peer records")
	}
	hostRecord, err := book.GetPeerRecord(c.host.ID()).Marshal()
	if err != nil {
		return err
	}
	if c.registerAgain, err = registerRequest(againNamespace, hostRecord); err != nil {
		return err
	}
	records, err := newRecords(c.host.Peerstore().PrivKey(c.host.ID()), c.host.Addrs(), numRegisterFirst)
	if err != nil {
		return err
	}
	for i, r := range records {
		request, err := registerRequest(fmt.Sprintf("bench/first/%03d", i), r)
		if err != nil {
			return err
		}
		c.registerFirst = append(c.registerFirst, request)
	}
	return nil
}
