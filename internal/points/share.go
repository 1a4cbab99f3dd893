package points

import (
	"container/heap"
	"hash/maphash"
	"math"
	"time"
)

// share is what is remembered of what one point says, in all namespaces together.
//
// If not everything fits, a random part of it is kept: the more memory a report takes, the
// less likely it is to stay. Whoever registers first at a point, or with long records, cannot
// keep other peers out. Which reports stay depends on a secret seed and not on their order, so a
// peer does not come and go with each answer. This is the weighted sampling of Efraimidis and
// Spirakis ("Weighted random sampling with a reservoir", 2006).
type share struct {
	memory   int       // bytes
	answered time.Time // when the point last answered
	leftOut  time.Time // when something last did not fit
	reports  byRank    // the one to forget first is the first
}

// rankOf returns when to forget a report, relative to others: the highest rank goes first.
func rankOf(seed maphash.Seed, r *report) float64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(r.in.name)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(string(r.Peer.ID))
	uniform := (float64(h.Sum64()>>11) + 1) / (1 << 53) // from 0, exclusive, to 1
	return -math.Log(uniform) * float64(r.memory)
}

func (s *share) add(r *report) {
	s.memory += r.memory
	heap.Push(&s.reports, r)
}

func (s *share) remove(r *report) {
	s.memory -= r.memory
	heap.Remove(&s.reports, r.place)
}

// byRank is a heap of reports.
type byRank []*report

func (b *byRank) Len() int           { return len(*b) }
func (b *byRank) Less(i, j int) bool { return (*b)[i].rank > (*b)[j].rank }

func (b *byRank) Swap(i, j int) {
	all := *b
	all[i], all[j] = all[j], all[i]
	all[i].place, all[j].place = i, j
}

// Push is for package heap, as Pop is.
func (b *byRank) Push(r any) {
	added, _ := r.(*report) // add pushes nothing else
	added.place = len(*b)
	*b = append(*b, added)
}

// Pop is for package heap.
func (b *byRank) Pop() any {
	last := len(*b) - 1
	r := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return r
}
