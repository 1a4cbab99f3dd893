package rendezvous

// Which rendezvous points to ask. Points share nothing, so peers that are to find
// each other must pick the same ones out of those they know: for each namespace,
// the first few by highest-random-weight hashing of point and namespace.

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// A point that fails is left alone for minBackoff, and twice as long each time
// after. maxBackoff is well under a TTL: a point that comes back holds everyone's
// registrations again before anyone misses them.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 8 * time.Second
)

const (
	// scanInterval is how long what the peerstore says of points is believed: it
	// may know ten thousand peers, and gossipsub asks each second for each topic.
	scanInterval = time.Second
	// rememberFor is how long a point that was met is remembered after the
	// peerstore forgot it, which is a minute after the last connection to it
	// ended: a point that was down for longer than that is still found again.
	rememberFor = time.Hour
	// maxRemembered is how many such points are remembered, and so how much memory
	// passers-by who claim to be points can take.
	maxRemembered = 64
)

// points keeps which rendezvous points there are and how they have been doing.
type points struct {
	host  host.Host
	named bool                       // whether the user named any; else it is whoever speaks the protocol
	fixed map[peer.ID][]ma.Multiaddr // those named, but for the host itself
	wall  func() time.Time           // what the wall clock shows, without Go's monotonic reading

	mu      sync.Mutex
	scanned time.Time              // when met was last brought up to date
	met     map[peer.ID]met        // unless any were named
	backoff map[peer.ID]backingOff // points whose last request failed
}

// met is a point that was learned of.
type met struct {
	addrs []ma.Multiaddr // as the peerstore had them last
	seen  time.Time      // when the peerstore last said that it speaks the protocol
}

type backingOff struct {
	failures int
	since    time.Time // of the last failure
	until    time.Time
}

func newPoints(h host.Host, fixed []peer.AddrInfo) *points {
	p := &points{
		host:    h,
		named:   len(fixed) > 0,
		fixed:   make(map[peer.ID][]ma.Multiaddr),
		wall:    func() time.Time { return time.Now().Round(0) },
		met:     make(map[peer.ID]met),
		backoff: make(map[peer.ID]backingOff),
	}
	for _, f := range fixed {
		if f.ID != h.ID() { // a host cannot open a stream to itself
			p.fixed[f.ID] = append(p.fixed[f.ID], f.Addrs...)
		}
	}
	return p
}

// known returns all points, in no order.
func (p *points) known() []peer.ID {
	if p.named {
		return slices.Collect(maps.Keys(p.fixed))
	}
	p.mu.Lock()
	if time.Since(p.scanned) < scanInterval {
		defer p.mu.Unlock()
		return slices.Collect(maps.Keys(p.met))
	}
	p.mu.Unlock()
	return p.scan()
}

// scan asks the peerstore which peers speak the protocol, and returns all points.
func (p *points) scan() []peer.ID {
	if p.named {
		return p.known()
	}
	now := time.Now()
	speaking := make(map[peer.ID]met)
	book := p.host.Peerstore()
	for _, id := range book.Peers() {
		has, err := book.SupportsProtocols(id, RendezvousID_v001)
		if err == nil && len(has) > 0 && id != p.host.ID() {
			speaking[id] = met{addrs: fitAddrs(book.Addrs(id)), seen: now}
		}
	}
	p.mu.Lock()
	before := p.met // which is replaced, never changed
	p.mu.Unlock()
	for id, m := range before {
		if _, still := speaking[id]; !still && p.remembers(id, m, now) && len(speaking) < maxRemembered {
			speaking[id] = m
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.met, p.scanned = speaking, now
	maps.DeleteFunc(p.backoff, func(id peer.ID, _ backingOff) bool { _, is := speaking[id]; return !is })
	return slices.Collect(maps.Keys(speaking))
}

// remembers reports whether a point that the peerstore does not know as one any
// more still counts: one whose other protocols are known has stopped being one.
func (p *points) remembers(id peer.ID, m met, now time.Time) bool {
	others, err := p.host.Peerstore().GetProtocols(id)
	return err == nil && len(others) == 0 && now.Sub(m.seen) < rememberFor
}

// is reports whether a peer is among the points, as far as is known without asking
// the peerstore.
func (p *points) is(id peer.ID) bool {
	if p.named {
		_, is := p.fixed[id]
		return is
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, is := p.met[id]
	return is
}

// introduce makes sure that the host knows where a point is. Addresses in a
// peerstore expire, and a newer record takes them out.
func (p *points) introduce(id peer.ID) {
	if p.host.Network().Connectedness(id) == network.Connected {
		return
	}
	addrs := p.fixed[id]
	if !p.named {
		p.mu.Lock()
		addrs = p.met[id].addrs
		p.mu.Unlock()
	}
	p.host.Peerstore().AddAddrs(id, addrs, peerstore.TempAddrTTL)
}

// choose returns the points to try for a namespace, the best first. Points in
// backoff are left out, unless all are: then the one whose backoff ends first is tried.
func (p *points) choose(ns string) []peer.ID {
	known := p.known()
	ready := slices.DeleteFunc(slices.Clone(known), p.resting)
	if len(ready) > 0 || len(known) == 0 {
		return rank(ready, ns)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return []peer.ID{slices.MinFunc(known, func(a, b peer.ID) int {
		return p.backoff[a].until.Compare(p.backoff[b].until)
	})}
}

// resting reports whether a point is in backoff. One that has connected since it
// failed is not: it has come back.
func (p *points) resting(id peer.ID) bool {
	p.mu.Lock()
	b, is := p.backoff[id]
	p.mu.Unlock()
	if !is || !time.Now().Before(b.until) {
		return false
	}
	if p.connectedSince(id, b.since) {
		p.forgive(id)
		return false
	}
	return true
}

// meeting returns the points of a namespace at which peers meet as long as all is
// well: the first n by rank.
func (p *points) meeting(ns string, n int) []peer.ID {
	ranked := rank(p.known(), ns)
	return ranked[:min(n, len(ranked))]
}

// gone reports whether a point has failed so often that other peers, too, will have
// fallen to the next.
func (p *points) gone(id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backoff[id].failures >= 6
}

// connectedSince reports whether there is a connection to a point that was opened
// after t.
func (p *points) connectedSince(id peer.ID, t time.Time) bool {
	return slices.ContainsFunc(p.host.Network().ConnsToPeer(id), func(c network.Conn) bool {
		return c.Stat().Opened.After(t)
	})
}

// forgive ends a point's backoff.
func (p *points) forgive(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.backoff, id)
}

// blame begins a point's backoff, for a request that was begun at a time and
// failed. Requests that fail together count as one.
func (p *points) blame(id peer.ID, begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backoff[id]
	if !begun.After(b.since) {
		return
	}
	wait := min(maxBackoff, minBackoff<<min(b.failures, 8))
	now := time.Now()
	p.backoff[id] = backingOff{failures: b.failures + 1, since: now, until: now.Add(jitter(wait))}
}

// retryAfter is how long to wait before asking points again that did not answer:
// until the first backoff ends. One that is in none has refused what was asked, and
// has no reason yet to think better of it.
func (p *points) retryAfter(ids ...peer.ID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := maxBackoff
	for _, id := range ids {
		if b, is := p.backoff[id]; is {
			wait = min(wait, time.Until(b.until))
		}
	}
	return max(wait, jitter(minBackoff))
}

// jitter is d less up to a quarter, so that peers that failed together do not try
// again together.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/4+1)
}

// rank orders points for a namespace by their weight in it, the heaviest first.
// The weight is the SHA-256 of the point's ID and the namespace, the shorter-lived
// part last: every peer, whatever it is written in, ranks the same way.
func rank(ids []peer.ID, ns string) []peer.ID {
	weight := make(map[peer.ID][sha256.Size]byte, len(ids))
	for _, id := range ids {
		weight[id] = sha256.Sum256([]byte(string(id) + ns))
	}
	slices.SortFunc(ids, func(a, b peer.ID) int {
		wa, wb := weight[a], weight[b]
		return bytes.Compare(wb[:], wa[:])
	})
	return ids
}
