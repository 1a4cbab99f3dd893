package rendezvous

// What a DISCOVER costs: bytes of answer, memory, and one of few places for large
// answers. All of it is known before anything is drawn from the storage.

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

const (
	// maxLargeDraws is how many samples that are not small one peer has at a time. More
	// of them wait.
	maxLargeDraws = 2
	largeWait     = 5 * time.Second
	// maxOriginDraws is how many of them all peers of one address, or of an IPv6 /64, have at
	// a time, so that a crowd there does not keep all processors from everybody else. An
	// answer that takes longer than crowdTime no longer counts: its peer reads slowly, which
	// takes little of a processor and must not hold up the peer's neighbours.
	maxOriginDraws = 2 * maxLargeDraws
	crowdTime      = 250 * time.Millisecond
	// maxSlowDraws is how many large samples, of all peers together, a storage that copies is
	// asked for at a time. A registration must not wait there behind the samples of a crowd.
	maxSlowDraws = 2
	// slowDrawTime is the shortest time for which a cancelled one counts, because a database
	// may carry it out all the same.
	slowDrawTime = 250 * time.Millisecond
)

// draws limits what all DISCOVER of a point may cost.
type draws struct {
	egress *limit.Budget // bytes of answers
	large  *limit.Concurrent[peer.ID]
	crowds *limit.Concurrent[limit.Origin] // large samples of each origin
	copies bool                            // whether the storage makes a copy of each envelope that it returns
	slow   chan struct{}                   // holds a token for each large sample of such a storage
	size   averageSize
}

func newDraws(bytesPerSecond, burst int, copies bool) *draws {
	d := &draws{
		egress: limit.NewBudget(float64(bytesPerSecond), float64(burst)),
		large:  limit.NewConcurrent[peer.ID](maxLargeDraws),
		crowds: limit.NewConcurrent[limit.Origin](maxOriginDraws),
		copies: copies,
		slow:   make(chan struct{}, maxSlowDraws),
	}
	d.size.init()
	return d
}

// draw is what one DISCOVER was charged and given.
type draw struct {
	draws   *draws
	peer    peer.ID
	origin  limit.Origin
	scope   network.ResourceScope
	charged int // bytes of answer
	memory  int // bytes
	large   bool
	crowd   *crowdPlace // nil: none
}

// begin charges a peer for the answer to a DISCOVER of n registrations, and gives it
// what that takes. If there is no error, end must be called.
func (d *draws) begin(ctx context.Context, p peer.ID, o limit.Origin, scope network.ResourceScope, n int, now time.Time) (*draw, error) {
	drawn := &draw{draws: d, peer: p, origin: o, scope: scope}
	if err := drawn.reserve(ctx, n, now); err != nil {
		drawn.end(0, true, now)
		return nil, err
	}
	return drawn, nil
}

// reserve takes a place, bytes of answer and memory for n registrations. It takes the place
// first. An answer that is larger than expected is then charged in full before a waiting one
// is charged, so the answers that were charged too little are never more than the places.
func (d *draw) reserve(ctx context.Context, n int, now time.Time) error {
	memory := 0
	if n > smallSample {
		ctx, cancel := context.WithTimeout(ctx, largeWait)
		defer cancel()
		begun := time.Now()
		if d.draws.large.Wait(ctx, d.peer) != nil {
			return errTooMany // the peer's own large draws take too long
		}
		d.large = true
		if d.origin != (limit.Origin{}) {
			if d.draws.crowds.Wait(ctx, d.origin) != nil {
				return errTooMany // those of its address do
			}
			d.crowd = newCrowdPlace(func() { d.draws.crowds.Leave(d.origin) })
		}
		memory = discoverMemory
		now = now.Add(time.Since(begun))
	}
	bytes := d.draws.size.expect(n)
	if !d.draws.egress.Take(d.peer, d.origin, float64(bytes), now) {
		return errEgress
	}
	d.charged = bytes
	if d.draws.copies {
		memory += bytes
	}
	return d.book(memory)
}

// book reserves more memory.
func (d *draw) book(bytes int) error {
	if bytes <= 0 {
		return nil
	}
	if err := d.scope.ReserveMemory(bytes, network.ReservationPriorityAlways); err != nil {
		return errNoMemory
	}
	d.memory += bytes
	return nil
}

// slowly calls sample when the storage has fewer than maxSlowDraws under way.
func (d *draw) slowly(ctx context.Context, sample func() error) error {
	if d == nil || !d.large || !d.draws.copies {
		return sample()
	}
	select {
	case d.draws.slow <- struct{}{}:
		defer func() { <-d.draws.slow }()
	case <-ctx.Done():
		return errBusy
	}
	begun := time.Now()
	err := sample()
	if errors.Is(context.Cause(ctx), errGone) {
		time.Sleep(slowDrawTime - time.Since(begun))
	}
	return err
}

// check books what the sample takes beyond what was expected of it.
func (d *draw) check(found []wire.Found) error {
	if d == nil || !d.draws.copies {
		return nil
	}
	held := 0
	if d.large {
		held = discoverMemory
	}
	for i := range found {
		held += len(found[i].Envelope) + len(found[i].Namespace)
	}
	return d.book(held - d.memory)
}

// end gives everything back and settles the charge. sent is the size of the answer. If the
// peer has not taken the answer, none of the charge is given back, because the sample was
// drawn.
func (d *draw) end(sent int, taken bool, now time.Time) {
	if d == nil {
		return
	}
	if d.memory > 0 {
		d.scope.ReleaseMemory(d.memory)
	}
	if !taken {
		sent = max(sent, d.charged)
	}
	d.draws.egress.Settle(d.peer, d.origin, float64(sent-d.charged), now)
	if d.large { // last, so that whoever waits pays after this
		d.draws.large.Leave(d.peer)
	}
	d.crowd.leave()
}

// crowdPlace is a place of a large answer among those of its address. It is given back after
// crowdTime at the latest.
type crowdPlace struct {
	once  func()
	timer *time.Timer
}

func newCrowdPlace(leave func()) *crowdPlace {
	once := sync.OnceFunc(leave)
	return &crowdPlace{once, time.AfterFunc(crowdTime, once)}
}

// leave gives the place back. A nil place is none.
func (p *crowdPlace) leave() {
	if p != nil {
		p.timer.Stop()
		p.once()
	}
}

// averageSize is the running average of the size of a registration in an answer, in
// bytes.
type averageSize struct{ bytes atomic.Int64 }

// usualSize is the size of a registration of most hosts.
const usualSize = 300

func (a *averageSize) init() { a.bytes.Store(usualSize) }

// expect returns how many bytes an answer of n registrations may take in any protocol.
func (a *averageSize) expect(n int) int { return min(n*int(a.bytes.Load()), wire.Waku.MaxAnswer) }

// add counts an answer. Concurrent calls may lose one of them.
func (a *averageSize) add(bytes, n int) {
	if n > 0 {
		was := a.bytes.Load()
		if change := (int64(bytes/n) - was) / 8; change != 0 {
			a.bytes.Store(was + change)
		}
	}
}
