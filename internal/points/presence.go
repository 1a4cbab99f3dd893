package points

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// returnTime is for how long a point must have answered again, after it did not, before a
// peer that it does not have counts as gone. The peers may have been without that point
// too, and it may have lost its registrations.
const returnTime = 10 * time.Second

// Presence decides when a peer has left a namespace: when its registration has ended at
// the points that told of it. Time in which a point does not answer does not count,
// because the peer may be refreshing its registration there. All methods may be called at
// the same time.
type Presence struct {
	mu     sync.Mutex
	all    answerClock // of all points together
	points map[peer.ID]*answerClock
	peers  map[peer.ID]map[peer.ID]deadline // by peer, then by point
}

// deadline is when a registration ends, on the clock of its point and on that of all
// points.
type deadline struct{ point, all time.Duration }

// NewPresence returns a Presence that knows of no peer.
func NewPresence() *Presence {
	return &Presence{points: make(map[peer.ID]*answerClock), peers: make(map[peer.ID]map[peer.ID]deadline)}
}

// Listed takes in all registrations that a point has in the namespace. Those of all other
// peers have ended there.
func (p *Presence) Listed(point peer.ID, all []Sighting) {
	p.Answered(point, all, 1)
	listed := make(map[peer.ID]struct{}, len(all))
	for _, s := range all {
		listed[s.Peer.ID] = struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, deadlines := range p.peers {
		d, told := deadlines[point]
		if _, has := listed[id]; told && !has {
			deadlines[point] = deadline{min(d.point, p.points[point].elapsed), min(d.all, p.all.elapsed)}
		}
	}
}

// Answered takes in what a point has said of the namespace. share is which part of the
// namespace the answer had, up to 1. In a smaller part, a peer may be missing by chance,
// so less time counts.
func (p *Presence) Answered(point peer.ID, seen []Sighting, share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	c := p.points[point]
	if c == nil {
		c = new(answerClock)
		p.points[point] = c
	}
	c.answered(now, share)
	p.all.answered(now, share)
	for _, s := range seen {
		if p.peers[s.Peer.ID] == nil {
			p.peers[s.Peer.ID] = make(map[peer.ID]deadline)
		}
		lives := s.Until.Sub(now)
		p.peers[s.Peer.ID][point] = deadline{c.elapsed + lives, p.all.elapsed + lives}
	}
}

// Failed takes in that a point did not answer.
func (p *Presence) Failed(point peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.points[point]; c != nil {
		c.stopped = true
	}
}

// NoneAnswered takes in that no point answered.
func (p *Presence) NoneAnswered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.stopped = true
}

// Left reports whether a peer has left, according to each point that told of it. If asked
// says that such a point is not asked any more, all points together decide in its place.
func (p *Presence) Left(id peer.ID, asked func(point peer.ID) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for point, d := range p.peers[id] {
		if asked(point) && !p.points[point].passed(d.point) || !asked(point) && !p.all.passed(d.all) {
			return false
		}
	}
	return true
}

// Forget forgets all peers that keep does not report, and their points.
func (p *Presence) Forget(keep func(peer.ID) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	points := make(map[peer.ID]*answerClock)
	for id, deadlines := range p.peers {
		if !keep(id) {
			delete(p.peers, id)
			continue
		}
		for point := range deadlines {
			points[point] = p.points[point]
		}
	}
	p.points = points
}

// answerClock is a clock that stands still while its point does not answer.
type answerClock struct {
	elapsed time.Duration
	resumed time.Duration // before this, nothing counts as passed since it last stood still
	last    time.Time     // when the point last answered
	stopped bool          // whether it has failed to since
}

func (c *answerClock) answered(now time.Time, share float64) {
	switch {
	case c.stopped:
		c.stopped, c.resumed = false, c.elapsed+returnTime
	case !c.last.IsZero():
		c.elapsed += time.Duration(float64(now.Sub(c.last)) * share)
	}
	c.last = now
}

// passed reports whether a time has come on the clock.
func (c *answerClock) passed(at time.Duration) bool {
	return !c.stopped && c.elapsed >= max(at, c.resumed)
}
