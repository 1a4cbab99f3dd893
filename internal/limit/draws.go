package limit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxLargeDraws is how many large samples one peer has at a time. More of them wait.
	MaxLargeDraws = 2
	// drawWait is how long a large sample waits for its places, all in all. It is shorter than
	// the second after which a client may take the connection for dead.
	drawWait = 750 * time.Millisecond
	// maxOriginDraws is how many large samples all peers of one address, or of an IPv6 /64,
	// may have at a time, so that many peers there cannot occupy all processors. An answer
	// that takes longer than originPlaceTime no longer counts. Its peer reads slowly, which takes
	// little processor time and must not delay other peers of the address.
	maxOriginDraws  = 2 * MaxLargeDraws
	originPlaceTime = 250 * time.Millisecond
	// MaxSlowDraws is how many large samples, of all peers together, a storage that copies is
	// asked for at a time. Registrations must not wait there behind many samples.
	MaxSlowDraws = 2
	// slowDrawTime is the shortest time for which a cancelled large sample counts, because
	// the database may not stop working on it.
	slowDrawTime = 250 * time.Millisecond
)

// Errors of a [Draw].
var (
	// ErrLargeDraws: the large samples of the peer, or of its address, take too long.
	ErrLargeDraws = errors.New("too many large samples of the peer or its address")
	// ErrSlowDraws: those that the storage is asked for take too long.
	ErrSlowDraws = errors.New("too many large samples at a time")
	// ErrEgress: the peer or its network was sent too many bytes lately.
	ErrEgress = errors.New("too many bytes of answers")
	// ErrMemory: the resource manager has no memory for the answer.
	ErrMemory = errors.New("no memory for an answer")
)

// DrawCosts says what samples cost.
type DrawCosts struct {
	// Egress is how many bytes of answers a peer may have per second, and Burst how many at
	// once. An Egress of 0 means no limit.
	Egress, Burst int
	// Copies is whether the storage makes a copy of each envelope that it returns.
	Copies bool
	// Small is the size of a sample, in registrations, up to which it takes no place and no
	// memory. Large is how much memory a larger one takes without its envelopes, in bytes.
	Small, Large int
	// MaxAnswer is the size of the longest answer, in bytes.
	MaxAnswer int
}

// Draws limits what the answers to all DISCOVERs of a point cost: bytes, memory, and places
// for large samples. All of it is known before anything is drawn from the storage.
type Draws struct {
	costs     DrawCosts
	egress    *Budget // bytes of answers
	large     *Concurrent[peer.ID]
	perOrigin *Concurrent[Origin] // large samples of each origin
	slow      *turns              // large samples of a storage that copies
}

// NewDraws returns limits for samples of these costs.
func NewDraws(costs DrawCosts) *Draws {
	return &Draws{
		costs:     costs,
		egress:    NewBudget(float64(costs.Egress), float64(costs.Burst)),
		large:     NewConcurrent[peer.ID](MaxLargeDraws),
		perOrigin: NewConcurrent[Origin](maxOriginDraws),
		slow:      newTurns(MaxSlowDraws),
	}
}

// Copies reports whether the storage makes a copy of each envelope that it returns.
func (d *Draws) Copies() bool { return d.costs.Copies }

// Sweep frees the memory of peers that no longer owe anything.
func (d *Draws) Sweep(now time.Time) { d.egress.Sweep(now) }

// Begin charges a peer for the answer to a DISCOVER of n registrations, and gives it what that
// takes: a place, bytes of answer, and memory of scope. It waits for a place. If there is no
// error, End must be called. The answer counts as registrations of the usual size until
// [Draw.Hold], whatever other answers were like: peers choose the size of their records.
func (d *Draws) Begin(ctx context.Context, p peer.ID, o Origin, scope network.ResourceScope, n int, now time.Time) (*Draw, error) {
	drawn := &Draw{draws: d, peer: p, origin: o, scope: scope}
	if err := drawn.reserve(ctx, n, now); err != nil {
		drawn.End(0, true, now)
		return nil, err
	}
	return drawn, nil
}

// expect returns how many bytes an answer of n registrations may take.
func (d *Draws) expect(n int) int { return min(n*UsualSize, d.costs.MaxAnswer) }

// Draw is what one DISCOVER was charged and given. The methods of a nil Draw limit nothing. One
// goroutine uses it at a time.
type Draw struct {
	draws   *Draws
	peer    peer.ID
	origin  Origin
	scope   network.ResourceScope
	charged int // bytes of answer
	memory  int // bytes
	large   bool
	giveUp  time.Time    // until when a large sample waits
	place   *originPlace // nil: none
}

// reserve takes a place, bytes of answer and memory for n registrations. It takes the place
// first: an answer that is larger than expected is charged in full before it gives back its
// place. So at most as many answers as there are places are charged too little at a time. The
// copies of a large sample get their memory when the storage is asked for them.
func (d *Draw) reserve(ctx context.Context, n int, now time.Time) error {
	memory := 0
	if n > d.draws.costs.Small {
		begun := time.Now()
		d.giveUp = begun.Add(drawWait)
		if err := d.takePlaces(ctx); err != nil {
			return err
		}
		memory = d.draws.costs.Large
		now = now.Add(time.Since(begun))
	}
	bytes := d.draws.expect(n)
	if !d.draws.egress.Take(d.peer, d.origin, float64(bytes), now) {
		return ErrEgress
	}
	d.charged = bytes
	if d.draws.costs.Copies && !d.large {
		memory += bytes
	}
	return d.reserveMemory(memory)
}

// takePlaces takes the places of a large sample.
func (d *Draw) takePlaces(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, d.giveUp)
	defer cancel()
	if d.draws.large.Wait(ctx, d.peer) != nil {
		return ErrLargeDraws
	}
	d.large = true
	if d.origin == (Origin{}) {
		return nil
	}
	if d.draws.perOrigin.Wait(ctx, d.origin) != nil {
		return ErrLargeDraws
	}
	d.place = newOriginPlace(func() { d.draws.perOrigin.Leave(d.origin) })
	return nil
}

// reserveMemory reserves more memory.
func (d *Draw) reserveMemory(bytes int) error {
	if bytes <= 0 {
		return nil
	}
	if err := d.scope.ReserveMemory(bytes, network.ReservationPriorityAlways); err != nil {
		return ErrMemory
	}
	d.memory += bytes
	return nil
}

// Slowly calls sample when a storage that copies has fewer than [MaxSlowDraws] large samples
// under way and it is the peer's turn.
func (d *Draw) Slowly(ctx context.Context, sample func() error) error {
	if d == nil || !d.large || !d.draws.costs.Copies {
		return sample()
	}
	if err := d.takeTurn(ctx); err != nil {
		return err
	}
	defer d.endTurn(ctx, time.Now())
	if err := d.Hold(d.charged); err != nil {
		return err
	}
	return sample()
}

// takeTurn waits for the turn of a large sample.
func (d *Draw) takeTurn(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, d.giveUp)
	defer cancel()
	if d.draws.slow.take(ctx, d.peer, d.origin) != nil {
		return ErrSlowDraws
	}
	return nil
}

// endTurn ends a turn that began at some time, at once or after slowDrawTime.
func (d *Draw) endTurn(ctx context.Context, begun time.Time) {
	if left := slowDrawTime - time.Since(begun); ctx.Err() != nil && left > 0 {
		time.AfterFunc(left, d.draws.slow.leave)
	} else {
		d.draws.slow.leave()
	}
}

// Hold charges for a sample of the given size, and reserves the memory of copies of it, as far
// as it was not expected. A peer that cannot pay owes it.
func (d *Draw) Hold(bytes int) error {
	if d == nil {
		return nil
	}
	if more := bytes - d.charged; more > 0 {
		d.draws.egress.Settle(d.peer, d.origin, float64(more), time.Now())
		d.charged = bytes
	}
	if !d.draws.costs.Copies {
		return nil
	}
	if d.large {
		bytes += d.draws.costs.Large
	}
	return d.reserveMemory(bytes - d.memory)
}

// End gives everything back and settles the charge. sent is the size of the answer. If the
// peer has not taken the answer, none of the charge is given back, because the sample was
// drawn.
func (d *Draw) End(sent int, taken bool, now time.Time) {
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
	d.place.leave()
}

// originPlace is one of the maxOriginDraws places of an address. It is given back after
// originPlaceTime at the latest.
type originPlace struct {
	once  func()
	timer *time.Timer
}

func newOriginPlace(leave func()) *originPlace {
	once := sync.OnceFunc(leave)
	return &originPlace{once, time.AfterFunc(originPlaceTime, once)}
}

// leave gives the place back. A nil place is none.
func (p *originPlace) leave() {
	if p != nil {
		p.timer.Stop()
		p.once()
	}
}

// UsualSize is the size of a registration of most hosts in an answer, in bytes. Answers are
// charged for it in advance.
const UsualSize = 300
