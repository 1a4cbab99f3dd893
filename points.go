package rendezvous

// Which rendezvous points to ask. Points share nothing, so peers that are to find
// each other must pick the same ones out of those they know: for each namespace,
// the first few by highest-random-weight hashing of point and namespace.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A point that fails is left alone for minBackoff, and twice as long each time
// after. maxBackoff is well under a TTL: a point that comes back holds everyone's
// registrations again before anyone misses them.
const (
	minBackoff = time.Second
	maxBackoff = 8 * time.Second
)

// points keeps which rendezvous points there are and how they have been doing.
type points struct {
	host  host.Host
	fixed []peer.ID // those the user named; with none, whoever speaks the protocol

	mu      sync.Mutex
	backoff map[peer.ID]backoff // points whose last request failed
}

type backoff struct {
	failures int
	until    time.Time
}

func newPoints(h host.Host, fixed []peer.AddrInfo) *points {
	p := &points{host: h, backoff: make(map[peer.ID]backoff)}
	for _, f := range fixed {
		if f.ID != h.ID() && !slices.Contains(p.fixed, f.ID) {
			p.fixed = append(p.fixed, f.ID)
		}
	}
	return p
}

// known returns all points, in no order.
func (p *points) known() []peer.ID {
	if len(p.fixed) > 0 {
		return slices.Clone(p.fixed)
	}
	var speaking []peer.ID
	for _, id := range p.host.Peerstore().Peers() {
		if id == p.host.ID() {
			continue
		}
		if has, err := p.host.Peerstore().SupportsProtocols(id, RendezvousID_v001); err == nil && len(has) > 0 {
			speaking = append(speaking, id)
		}
	}
	return speaking
}

// choose returns the points to try for a namespace, the best first. Points in
// backoff are left out, unless all are: then the one whose backoff ends first is tried.
func (p *points) choose(ns string) []peer.ID {
	known := p.known()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(known)
	now := time.Now()
	ready := slices.DeleteFunc(slices.Clone(known), func(id peer.ID) bool {
		return now.Before(p.backoff[id].until)
	})
	if len(ready) == 0 && len(known) > 0 {
		return []peer.ID{slices.MinFunc(known, func(a, b peer.ID) int {
			return p.backoff[a].until.Compare(p.backoff[b].until)
		})}
	}
	return rank(ready, ns)
}

// forget drops what is kept of points that are none any more.
func (p *points) forget(known []peer.ID) {
	for id := range p.backoff {
		if !slices.Contains(known, id) {
			delete(p.backoff, id)
		}
	}
}

// report says how a request to a point went.
func (p *points) report(id peer.ID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.backoff, id)
		return
	}
	b := p.backoff[id]
	b.failures++
	wait := min(maxBackoff, minBackoff<<min(b.failures-1, 8))
	b.until = time.Now().Add(jitter(wait))
	p.backoff[id] = b
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

// hedge is how long a point may take before the next is asked beside it, so that
// a silent one costs a moment and not a request's whole time.
const hedge = time.Second

// ask makes a request at the best points of a namespace, n of them at the same
// time, and at the next best for each that fails or is slow. It returns how many
// answered, when every request has ended or n have answered and the rest had
// another moment; the error says what went wrong where none answered.
func (p *points) ask(ctx context.Context, ns string, n int, request func(ctx context.Context, point peer.ID) error) error {
	chosen := p.choose(ns)
	if len(chosen) == 0 {
		return ErrNoPoints
	}
	caller := ctx
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	results := make(chan error)
	slow := time.NewTicker(hedge)
	defer slow.Stop()

	var (
		asked, running, answered int
		patient                  = n // how many to have under way or answered
		failures                 []error
	)
	for {
		for asked < len(chosen) && running+answered < patient {
			point := chosen[asked]
			asked++
			running++
			go func() {
				err := request(ctx, point)
				if err == nil || caller.Err() == nil { // that the caller gave up says nothing of the point
					p.report(point, err)
				}
				results <- err
			}()
		}
		if running == 0 {
			break
		}
		select {
		case err := <-results:
			running--
			if err == nil {
				answered++
			} else {
				failures = append(failures, err)
			}
		case <-slow.C:
			patient++
			if answered >= n {
				cancel()
			}
		}
	}
	if answered > 0 {
		return nil
	}
	return errors.Join(failures...)
}
