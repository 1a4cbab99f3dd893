package redisstorage

// Drawing samples.

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// maxRounds bounds how often one Sample draws. One round is usually enough. It takes a
	// second one if much of the namespace has expired, or if the size of its entries is
	// not known.
	maxRounds = 3
	// maxAttempts bounds these rounds together with those that only learn the lengths of
	// the arrays, because the namespace is new or has grown much.
	maxAttempts = 5
	// overdueAfter is how long after its deadline a Sample removes an entry by its
	// position. By then a purge should have removed it; if none did, the index or
	// the key of the peer was lost.
	overdueAfter = 2 * time.Second
	// A round of largeRound positions or more is large. At most maxLargeRounds of these run
	// at the same time, so that the answers of the servers take a bounded amount of memory.
	largeRound     = 256
	maxLargeRounds = 8
)

// sampler draws samples. All methods may be called concurrently.
type sampler struct {
	client  rueidis.Client
	shards  []*shard
	health  *health
	metrics *metrics
	now     func() time.Time
	lengths lengthCache
	large   chan struct{} // has an element for each large round under way
}

func newSampler(client rueidis.Client, shards []*shard, h *health, m *metrics, now func() time.Time) *sampler {
	return &sampler{
		client: client, shards: shards, health: h, metrics: m, now: now,
		large: make(chan struct{}, maxLargeRounds),
	}
}

// sample returns n live records of a namespace, or of all namespaces for "", or all if
// there are fewer. It stops before they have more than maxBytes, unless that is 0. It leaves
// out shards that cannot be reached.
//
// Each round draws anew from all positions, and what was found before is left out. So it
// does not matter that entries move in the meantime.
func (s *sampler) sample(ctx context.Context, ns string, n, maxBytes int) ([]rendezvous.Record, error) {
	q := &query{
		client: s.client, shards: s.shards, health: s.health, metrics: s.metrics,
		namespace: ns, lost: make([]bool, len(s.shards)), byRank: ns == "",
	}
	w := newWanted(n, maxBytes)
	known := s.lengths.get(ns, len(s.shards))
	live := sum(known.lengths)
	for rounds, attempts := 0, 1; ; attempts++ {
		sizes := drawSizes(known.lengths)
		size := sum(sizes)
		places := draw(sizes, w.positions(size, sum(known.lengths), live, known.entry))
		f, err := s.round(ctx, q, places)
		if err != nil {
			return nil, err
		}
		if f.entry > 0 {
			known.entry = f.entry
		}
		known.lengths = f.lengths
		if !q.byRank || ns == "" {
			s.lengths.put(ns, known)
		}
		live = sum(f.live)
		// The round is not uniform if an array is longer than what was drawn from.
		uniform := covers(sizes, f.lengths)
		if uniform {
			rounds++
		}
		last := rounds == maxRounds || attempts == maxAttempts
		if uniform || last {
			w.add(f.records)
		}
		short := !w.done() && (!uniform || len(places) < size && live > len(w.records))
		if !q.byRank {
			s.purge(ctx, ns, f.expired, short && uniform)
		}
		if last || !short {
			return w.records, nil
		}
		if uniform && live < sum(f.lengths)/2 {
			q.byRank, known.lengths = true, f.live
		}
	}
}

// round fetches the entries at some places. It waits while too many large rounds are under
// way.
func (s *sampler) round(ctx context.Context, q *query, places []place) (*found, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(places) >= largeRound {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.fetch(ctx, q, places)
}

// purge removes expired entries that a round has found by their position: all if the sample
// is short, so that the next round finds more live ones, and else those that are overdue.
func (s *sampler) purge(ctx context.Context, ns string, expired map[int]expiredPositions, short bool) {
	for n, positions := range expired {
		remove := positions.overdue
		if short {
			remove = positions.all
		}
		if len(remove) == 0 {
			continue
		}
		for len(remove) > 0 && ctx.Err() == nil {
			batch := remove[:min(len(remove), purgeBatch)]
			remove = remove[len(batch):]
			if _, err := s.shards[n].purge(ctx, ns, batch); err != nil {
				log.Debug("cannot purge expired registrations", "shard", n, "error", err)
				return
			}
		}
	}
}

// fetch fetches the entries at some places.
func (s *sampler) fetch(ctx context.Context, q *query, places []place) (*found, error) {
	positions := make([][]string, len(s.shards))
	for _, p := range places {
		positions[p.shard] = append(positions[p.shard], strconv.Itoa(p.pos))
	}
	sent := s.now()
	answers, err := q.ask(ctx, positions)
	if err != nil {
		return nil, err
	}
	received := s.now()

	f := newFound(len(s.shards), len(places))
	readAt := make([]time.Time, len(s.shards)) // when each server read its clock
	for i := range answers {
		header := answers[i].header
		f.lengths[i], f.live[i] = int(header.length), int(header.live)
		if q.byRank {
			f.lengths[i] = f.live[i]
		}
		if answers[i].hasHeader {
			clock := &s.shards[i].clock
			clock.observe(sent, received, header.now)
			readAt[i] = clock.local(sent, received, header.now)
		}
	}
	entries, bytes := 0, 0
	for _, p := range places {
		a := &answers[p.shard]
		e, ok := a.next()
		if !ok {
			continue
		}
		entries++
		bytes += len(e.namespace) + len(e.envelope)
		left := time.Duration(e.fresh-a.header.now) * time.Millisecond
		fresh := readAt[p.shard].Add(left)
		if fresh.After(received) {
			f.addLive(e, fresh)
		} else {
			f.addExpired(p, left < -overdueAfter)
		}
	}
	f.entry = bytes / max(1, entries)
	return f, nil
}

// found is what was found at the places of one round.
type found struct {
	records []rendezvous.Record // live ones, in the order of the draw
	lengths []int               // of the array of each shard, or of what has a rank
	live    []int               // how much of it is live
	entry   int                 // mean bytes of a namespace and an envelope
	expired map[int]expiredPositions
}

// expiredPositions are positions in the array of a shard where something expired was found.
type expiredPositions struct {
	all, overdue []int
}

func newFound(shards, places int) *found {
	return &found{
		records: make([]rendezvous.Record, 0, places),
		lengths: make([]int, shards),
		live:    make([]int, shards),
		expired: make(map[int]expiredPositions),
	}
}

// addLive adds an entry that is fresh until a time.
func (f *found) addLive(e entry, fresh time.Time) {
	f.records = append(f.records, rendezvous.Record{
		Namespace: e.namespace,
		Peer:      e.peer,
		Envelope:  e.envelope,
		Deadline:  fresh,
	})
}

// addExpired adds an expired entry.
func (f *found) addExpired(p place, overdue bool) {
	positions := f.expired[p.shard]
	positions.all = append(positions.all, p.pos)
	if overdue {
		positions.overdue = append(positions.overdue, p.pos)
	}
	f.expired[p.shard] = positions
}
