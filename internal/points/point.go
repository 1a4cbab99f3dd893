package points

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// requestTimeout bounds a request, including the dial.
	requestTimeout = 5 * time.Second
	// fairTime is how long a point must have had for a request that its caller gives up
	// to count as its failure.
	fairTime = time.Second
)

// Point is one rendezvous point. Its methods may be called from many goroutines at the
// same time.
type Point struct {
	config *Config
	id     peer.ID

	mu      sync.Mutex
	addrs   []ma.Multiaddr // to dial; replaced, never written to
	seen    time.Time      // when the peerstore last said that it speaks the protocol
	backoff backoff
}

func newPoint(c *Config, id peer.ID) *Point {
	return &Point{config: c, id: id}
}

// ID returns the point's peer ID.
func (p *Point) ID() peer.ID { return p.id }

// RoundTrip makes a request and counts how it ends. It takes at most five seconds, and
// no longer than ctx, whatever the point does. The error says which step has failed, or
// is that of r.Read; it does not name the point.
func (p *Point) RoundTrip(ctx context.Context, r Request) error {
	begun := time.Now()
	err := p.exchange(ctx, r)
	p.count(ctx, begun, err)
	return err
}

func (p *Point) exchange(ctx context.Context, r Request) error {
	e := newExchange()
	defer e.release()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	p.introduce()
	st, err := openStream(ctx, p.config, p.id)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	if err := e.do(ctx, st, p.config.Service, r); err != nil {
		return err
	}
	return r.Read(e.frame, st.Protocol())
}

// introduce makes sure that the host knows where the point is. Addresses in a peerstore
// expire, and a newer record of the peer removes them.
func (p *Point) introduce() {
	if p.connected() {
		return
	}
	p.mu.Lock()
	addrs := p.addrs
	p.mu.Unlock()
	p.config.Host.Peerstore().AddAddrs(p.id, addrs, peerstore.TempAddrTTL)
}

// count ends or begins the point's backoff, for a request that began at begun and has
// ended with err.
func (p *Point) count(ctx context.Context, begun time.Time, err error) {
	verdict := Answered
	if err != nil {
		verdict = p.config.Judge(err)
	}
	switch {
	case verdict == Answered:
		p.forgive()
	case ctx.Err() != nil && time.Since(begun) < fairTime:
		// The caller gave up at once, which says nothing about the point.
	default:
		p.mu.Lock()
		p.backoff.fail(begun, time.Now())
		p.mu.Unlock()
	}
}

// forgive ends the point's backoff.
func (p *Point) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backoff = backoff{}
}

// resting reports whether the point is in backoff. A point that has connected since it
// failed has come back, and is not.
func (p *Point) resting() bool {
	b := p.currentBackoff()
	if !b.active(time.Now()) {
		return false
	}
	if p.ConnectedSince(b.since) {
		p.forgive()
		return false
	}
	return true
}

func (p *Point) currentBackoff() backoff {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backoff
}

// Gone reports whether the point has failed so often in a row that other peers, too,
// will have gone on to the next point.
func (p *Point) Gone() bool { return p.currentBackoff().failures >= goneAfter }

func (p *Point) connected() bool {
	return p.config.Host.Network().Connectedness(p.id) == network.Connected
}

// ConnectedSince reports whether there is a connection to the point that was opened
// after t.
func (p *Point) ConnectedSince(t time.Time) bool {
	return slices.ContainsFunc(p.config.Host.Network().ConnsToPeer(p.id), func(c network.Conn) bool {
		return c.Stat().Opened.After(t)
	})
}

// setAddrs says where to dial the point from now on. The slice is the point's then.
func (p *Point) setAddrs(addrs []ma.Multiaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs = addrs
}

// setSeen says that the peerstore has the point as one at the time t.
func (p *Point) setSeen(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = t
}

// lastSeen returns when the peerstore last had the point as one.
func (p *Point) lastSeen() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}
