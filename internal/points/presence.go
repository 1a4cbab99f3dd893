package points

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// returnTime is how long a point must answer again, after it failed to, before a peer
// that it does not have counts as gone. The peers may not have reached the point either,
// and it may have lost its registrations.
const returnTime = 10 * time.Second

// lateTime is how much longer than twice its usual time an answer must take to be late. A point
// whose answer is late may have been out of reach, although no request has failed.
const lateTime = time.Second

// maxTold bounds how many peers are remembered that one point has told of. As in
// [Sightings], no more than maxSpeaking points are remembered. Otherwise a point that does
// not answer now and then could make up ever more peers that never leave.
const maxTold = 1 << 14

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
// points, and when it ends by real time unless it is refreshed.
type deadline struct {
	point, all time.Duration
	until      time.Time
}

// NewPresence returns a Presence that knows of no peer.
func NewPresence() *Presence {
	return &Presence{points: make(map[peer.ID]*answerClock), peers: make(map[peer.ID]map[peer.ID]deadline)}
}

// AnsweredAll records all registrations that a point has in the namespace, as it answered a request
// that began at asked. Those of all other peers have ended there.
func (p *Presence) AnsweredAll(point peer.ID, asked time.Time, all []Sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered(point, asked, all, 1)
	listed := idsIn(all)
	for id, deadlines := range p.peers {
		d, told := deadlines[point]
		if _, has := listed[id]; told && !has {
			deadlines[point] = deadline{min(d.point, p.points[point].elapsed), min(d.all, p.all.elapsed), time.Time{}}
		}
	}
}

// Answered records what a point has returned for the namespace, as it answered a request that
// began at asked. The answer may be a sample.
func (p *Presence) Answered(point peer.ID, asked time.Time, seen []Sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	share := p.share(point, seen)
	if share < 1 {
		share *= samplePart
	}
	p.answered(point, asked, seen, share)
}

const (
	// samplePart scales the time that a sample counts for, in addition to its share, because
	// a peer may be missing in several samples by chance. So a peer has left only when it
	// was missing in as many samples as would have contained it ten times.
	samplePart = 0.25
	// untilSlack is how much earlier a registration may end than its point said.
	untilSlack = 1500 * time.Millisecond
)

// share returns which part of the point's registrations an answer has, judged by those that
// the point must still have because it told of them a short while ago.
func (p *Presence) share(point peer.ID, seen []Sighting) float64 {
	has, by := idsIn(seen), time.Now().Add(untilSlack)
	known, found := 0, 0
	for id, deadlines := range p.peers {
		if !deadlines[point].until.After(by) {
			continue
		}
		known++
		if _, is := has[id]; is {
			found++
		}
	}
	if known == 0 {
		return 1
	}
	return float64(found) / float64(known)
}

func idsIn(seen []Sighting) map[peer.ID]struct{} {
	ids := make(map[peer.ID]struct{}, len(seen))
	for _, s := range seen {
		ids[s.Peer.ID] = struct{}{}
	}
	return ids
}

// answered records an answer. share is which part of the time since the last one counts.
func (p *Presence) answered(point peer.ID, asked time.Time, seen []Sighting, share float64) {
	now := time.Now()
	c := p.points[point]
	if c == nil {
		c = new(answerClock)
		p.points[point] = c
	}
	c.answered(asked, now, share)
	p.all.answered(asked, now, share)
	for _, s := range seen {
		if p.peers[s.Peer.ID] == nil {
			p.peers[s.Peer.ID] = make(map[peer.ID]deadline)
		}
		lives := s.Until.Sub(now)
		p.peers[s.Peer.ID][point] = deadline{c.elapsed + lives, p.all.elapsed + lives, s.Until}
	}
}

// Failed records that a point did not answer.
func (p *Presence) Failed(point peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.points[point]; c != nil {
		c.stopped = true
	}
}

// NoneAnswered records that no point answered.
func (p *Presence) NoneAnswered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.stopped = true
}

// Removed records which points have been removed. What they told no longer counts once the
// other points have answered for returnTime, because the peers may yet have to come to these.
func (p *Presence) Removed(removed func(point peer.ID) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for point := range p.points {
		if !removed(point) {
			continue
		}
		for _, deadlines := range p.peers {
			if d, told := deadlines[point]; told {
				deadlines[point] = deadline{d.point, min(d.all, p.all.elapsed+returnTime), time.Time{}}
			}
		}
	}
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

// Forget forgets all peers that keep does not report, and their points. Of a point that has
// told of too many, it forgets those whose registrations there end first, and of too many
// points the ones that answered longest ago. What is forgotten no longer keeps a peer from
// having left.
func (p *Presence) Forget(keep func(peer.ID) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.peers, func(id peer.ID, _ map[peer.ID]deadline) bool { return !keep(id) })
	told := make(map[peer.ID]int) // by point
	for _, deadlines := range p.peers {
		for point := range deadlines {
			told[point]++
		}
	}
	for len(told) > maxSpeaking {
		silent := p.longestSilent(told)
		p.forgetEarly(silent, 0)
		delete(told, silent)
	}
	for point, n := range told {
		if n > maxTold {
			p.forgetEarly(point, maxTold*3/4)
		}
	}
	maps.DeleteFunc(p.points, func(point peer.ID, _ *answerClock) bool { return told[point] == 0 })
}

// longestSilent returns which of the points, one or more, answered longest ago.
func (p *Presence) longestSilent(points map[peer.ID]int) (silent peer.ID) {
	for point := range points {
		if silent == "" || p.points[point].last.Before(p.points[silent].last) {
			silent = point
		}
	}
	return silent
}

// forgetEarly forgets what a point has told, except about the peers whose registrations there end
// last. It keeps at most limit of those.
func (p *Presence) forgetEarly(point peer.ID, limit int) {
	var ids []peer.ID
	for id, deadlines := range p.peers {
		if _, told := deadlines[point]; told {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int {
		return cmp.Compare(p.peers[b][point].point, p.peers[a][point].point)
	})
	for _, id := range ids[min(limit, len(ids)):] {
		delete(p.peers[id], point)
		if len(p.peers[id]) == 0 {
			delete(p.peers, id)
		}
	}
}

// answerClock is a clock that stands still while its point does not answer.
type answerClock struct {
	elapsed time.Duration
	resumed time.Duration // until then nothing counts as passed, because the clock stood still
	last    time.Time     // when the point last answered
	usual   time.Duration // that an answer takes
	stopped bool          // whether it has failed to since
}

// answered counts the time since the last answer. A late answer to a request that began at asked
// counts as a failure and an answer. What is late for a point that was quick is usual after a few
// answers.
func (c *answerClock) answered(asked, now time.Time, share float64) {
	took := now.Sub(asked)
	late := !c.last.IsZero() && took > lateTime+2*c.usual
	c.usual += (took - c.usual) / 8
	switch {
	case c.stopped || late:
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
