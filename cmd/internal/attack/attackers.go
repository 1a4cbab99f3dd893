package main

// An attack and its hostile peers.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
)

// scale is the size of the attacks.
type scale struct {
	peers         int // attackers, unless an attack has another number of them
	crowd         int // attackers behind one address, all connected at a time
	idleStreams   int // streams that are opened and left idle
	identities    int // identities from one network, one after the other
	fullSize      int // registrations in the namespace of attacks on large answers
	expired       int // registrations that end just before they are requested
	honest        int // honest peers
	unreadStreams int // streams of each attacker that reads no answers
	lasting       int // registrations of 72 hours that are added
}

var fullScale = scale{peers: 10, crowd: 30, idleStreams: 5000, identities: 2000, fullSize: 1000, expired: 20_000, honest: 8, unreadStreams: 10, lasting: 1_000_000}

// attack is one way to be hostile. It runs until its context ends.
type attack struct {
	name  string
	peers func(s scale) int // attackers to connect beforehand; nil: scale.peers
	from  source            // where they come from
	key   func() (crypto.PrivKey, error)
	// prepare, if it is not nil, is called before the attack, and before anything is measured.
	prepare func(ctx context.Context, a *attackers) error
	run     func(ctx context.Context, a *attackers)
	redis   bool // it is one on Redis only
	// sendsNothing is true of what is no attack.
	sendsNothing bool
}

// peersOf returns how many attackers an attack has.
func (s scale) peersOf(a attack) int {
	if a.peers == nil {
		return s.peers
	}
	return a.peers(s)
}

// source is where the attackers of an attack come from.
type source int

const (
	eachItsAddress source = iota // each from its own address
	oneAddress                   // all from the same
	one48                        // each from its own /64 of the same IPv6 /48
)

// addr returns the address of the nth attacker of an attack.
func (s source) addr(attack, n int) ma.Multiaddr {
	first := firstAttackerAddr + attack*addrsPerAttack%attackerAddrs
	switch s {
	case oneAddress:
		return publicAddr(first)
	case one48:
		return ma.StringCast(fmt.Sprintf("/ip6/2001:db8:%x:%x::1/tcp/4001", attack&0xffff, n&0xffff))
	default:
		return publicAddr(first + n%addrsPerAttack)
	}
}

// share returns how many times the budget of one peer all n attackers may use together.
func (s source) share(n int) int64 {
	switch s {
	case oneAddress:
		return int64(min(n, 20))
	case one48:
		return int64(min(n, 16*20))
	default:
		return int64(n)
	}
}

// attackers are the hostile peers of one attack.
type attackers struct {
	testbed  *testbed
	attack   attack
	duration time.Duration
	stats    *honestStats
	scale    scale
	number   int // of the attack
	first    int // number of the first one
	all      []*attacker
	sent     atomic.Int64 // requests, or streams that are left idle
	allowed  atomic.Int64 // bytes of registrations at the point that its limits allow
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

// Each attack has addresses of its own, so that it does not find its budgets spent by the
// attack before. They are far above those of honest peers.
const (
	firstAttackerAddr = 1 << 12
	addrsPerAttack    = 1 << 7
	attackerAddrs     = 1<<16 - firstAttackerAddr
)

// prepare connects the attackers and does what else comes before the attack.
func (a *attackers) prepare(ctx context.Context) error {
	a.number = int(a.testbed.attacks.Add(1))
	if err := a.connect(ctx, a.scale.peersOf(a.attack)); err != nil || a.attack.prepare == nil {
		return err
	}
	return a.attack.prepare(ctx, a)
}

// connect starts n attackers and connects them to the point.
func (a *attackers) connect(ctx context.Context, n int) error {
	otherKey, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	stolen, err := sealRecord(otherKey, 1, publicAddr(0))
	if err != nil {
		return err
	}
	for i := range n {
		h, err := newPeerHost(i, a.attack.key)
		if err != nil {
			return err
		}
		p := &attacker{Host: h, n: i, key: h.Peerstore().PrivKey(h.ID()), addr: a.attack.from.addr(a.number, a.first+i), stolen: stolen}
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

// sentTo returns how many bytes the point has written to the attacker who got most, and to
// all of them.
func (a *attackers) sentTo() (most, all int64) {
	for _, p := range a.all {
		n := a.testbed.sentTo(p.ID())
		most, all = max(most, n), all+n
	}
	return most, all
}

func (a *attackers) close() error {
	var errs []error
	for _, p := range a.all {
		errs = append(errs, p.Close())
	}
	a.all = nil
	return errors.Join(errs...)
}

// eachAttacker calls f for all attackers at the same time.
func eachAttacker(a *attackers, f func(*attacker)) {
	var wg sync.WaitGroup
	for _, p := range a.all {
		wg.Go(func() { f(p) })
	}
	wg.Wait()
}
