package limit

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// turns are a few places that all peers share. Who waits for one gets it in turns: an IPv4
// address or an IPv6 /48 gets one place before any other gets its second, however many of its
// peers wait. Peers without such a network take turns by themselves. Methods may be called by
// many goroutines at the same time.
type turns struct {
	mu      sync.Mutex
	free    int                       // 0 if anyone waits
	waiting map[party][]chan struct{} // closed when a place is handed over; the first has waited longest
	order   []party                   // all of waiting, the next one first
}

// party is who takes turns: a subnet, or a peer that is in none.
type party struct {
	subnet subnet
	peer   peer.ID
}

func newTurns(places int) *turns {
	return &turns{free: places, waiting: make(map[party][]chan struct{})}
}

func partyOf(p peer.ID, o Origin) party {
	if s := o.subnet(); s != 0 {
		return party{subnet: s}
	}
	return party{peer: p}
}

// take takes a place for a peer as soon as it is its turn. If ctx ends first, it takes none and
// returns an error.
func (t *turns) take(ctx context.Context, p peer.ID, o Origin) error {
	who := partyOf(p, o)
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	handed := make(chan struct{})
	if t.waiting[who] == nil {
		t.order = append(t.order, who)
	}
	t.waiting[who] = append(t.waiting[who], handed)
	t.mu.Unlock()
	select {
	case <-handed:
		return nil
	case <-ctx.Done():
		t.giveUp(who, handed)
		return fmt.Errorf("wait for its turn: %w", ctx.Err())
	}
}

// giveUp stops waiting. A place that was handed over meanwhile is passed on.
func (t *turns) giveUp(who party, handed chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[who], handed)
	if i < 0 {
		t.pass()
		return
	}
	t.remove(who, i)
	if t.waiting[who] == nil {
		t.order = slices.DeleteFunc(t.order, func(p party) bool { return p == who })
	}
}

// leave gives back a place.
func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass hands a place to whose turn it is. t.mu is held.
func (t *turns) pass() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	who := t.order[0]
	t.order = t.order[1:]
	close(t.waiting[who][0])
	t.remove(who, 0)
	if t.waiting[who] != nil {
		t.order = append(t.order, who)
	}
}

// remove removes one who waits. t.mu is held.
func (t *turns) remove(who party, i int) {
	if t.waiting[who] = slices.Delete(t.waiting[who], i, i+1); len(t.waiting[who]) == 0 {
		delete(t.waiting, who)
	}
}
