package main

// The hostile peers of an attack.

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
)

// scale is the size of the attacks.
type scale struct {
	peers         int // attackers, unless an attack has another number of them
	idleStreams   int // streams that are opened and left idle
	identities    int // identities behind one address
	fullSize      int // registrations in the namespace of the attack that reads no answers
	honest        int // honest peers
	unreadStreams int // streams of each attacker that reads no answers
}

var fullScale = scale{peers: 10, idleStreams: 5000, identities: 2000, fullSize: 1000, honest: 8, unreadStreams: 10}

// attackers are the hostile peers of one attack.
type attackers struct {
	testbed *testbed
	stats   *honestStats
	scale   scale
	all     []*attacker
	sent    atomic.Int64 // requests, or streams that are left idle
}

// attacker is one hostile peer.
type attacker struct {
	host.Host
	n        int
	key      crypto.PrivKey
	addr     ma.Multiaddr
	envelope []byte // its own record
	stolen   []byte // the record of another peer
	sent     atomic.Uint64
}

// firstAttackerAddr is far above the addresses of honest peers.
const firstAttackerAddr = 1 << 12

// connect starts n attackers and connects them to the point, all from the same address or
// each from its own.
func (a *attackers) connect(ctx context.Context, n int, sameAddr bool) error {
	otherKey, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	stolen, err := sealRecord(otherKey, 1, publicAddr(0))
	if err != nil {
		return err
	}
	for i := range n {
		h, err := newPeerHost(i)
		if err != nil {
			return err
		}
		p := &attacker{Host: h, n: i, key: h.Peerstore().PrivKey(h.ID()), addr: publicAddr(firstAttackerAddr), stolen: stolen}
		if !sameAddr {
			p.addr = publicAddr(firstAttackerAddr + i)
		}
		a.all = append(a.all, p)
		a.testbed.setAddr(h.ID(), p.addr)
		if p.envelope, err = sealRecord(p.key, 1, p.addr); err != nil {
			return err
		}
		if err := h.Connect(ctx, addrInfo(a.testbed.point)); err != nil {
			return err
		}
	}
	return nil
}

func (a *attackers) close() error {
	var errs []error
	for _, p := range a.all {
		errs = append(errs, p.Close())
	}
	a.all = nil
	return errors.Join(errs...)
}
