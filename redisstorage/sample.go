package redisstorage

// Drawing samples.

import (
	"context"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// maxDraws bounds how often one Sample draws. One draw is usually enough. A
	// namespace that was never asked for, or has grown much since, takes two.
	maxDraws = 5
	// maxPurges bounds how many batches of expired registrations one Sample purges
	// between two draws from a shard.
	maxPurges = 32
	// overdueAfter is how long after its deadline a Sample removes an entry by its
	// position. By then a purge should have removed it; if none did, the index or
	// the key of the peer was lost.
	overdueAfter = 2 * time.Second
)

// sampler draws samples. All methods may be called concurrently.
type sampler struct {
	client  rueidis.Client
	shards  []*shard
	health  *health
	metrics *metrics
	now     func() time.Time
	lengths lengthCache
}

// sample returns n live records of a namespace, or of all namespaces for "", or all if
// there are fewer. It leaves out shards that cannot be reached.
func (s *sampler) sample(ctx context.Context, ns string, n int) ([]rendezvous.Record, error) {
	q := &query{
		client: s.client, shards: s.shards, health: s.health, metrics: s.metrics,
		namespace: ns, lost: make([]bool, len(s.shards)),
	}
	lengths := s.lengths.get(ns, len(s.shards))
	liveShare := 0.0 // of positions, those that have a live entry; 0: not known
	for attempt := 1; ; attempt++ {
		sizes := drawSizes(lengths)
		size := sum(sizes)
		if liveShare == 0 {
			liveShare = float64(max(1, sum(lengths))) / float64(size)
		}
		places := draw(sizes, drawCount(n, size, liveShare))
		f, err := s.fetch(ctx, q, places)
		if err != nil {
			return nil, err
		}
		lengths = f.lengths
		s.lengths.put(ns, lengths)
		// A sample is not uniform if an array is longer than what was drawn from.
		uniform := covers(sizes, lengths)
		short := len(f.records) < n && len(places) < size
		s.purge(ctx, ns, f.expired, short)
		if attempt == maxDraws || uniform && !short {
			return f.records[:min(n, len(f.records))], nil
		}
		if liveShare = 0; uniform {
			liveShare = (float64(len(f.records)) + 0.1) / float64(len(places))
		}
	}
}

// purge removes expired entries that a draw has found. It removes overdue entries in any
// case. If the sample is short it purges everything that has expired in those shards, so
// that the next draw finds more live entries.
func (s *sampler) purge(ctx context.Context, ns string, expired map[int][]int, short bool) {
	for n, overdue := range expired {
		if !short && len(overdue) == 0 {
			continue
		}
		for range maxPurges {
			purged, err := s.shards[n].purge(ctx, ns, overdue)
			if err != nil {
				log.Debug("cannot purge expired registrations", "shard", n, "error", err)
			}
			if err != nil || !short || purged < purgeBatch {
				break
			}
			overdue = nil
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
		f.lengths[i] = int(header.length)
		if answers[i].hasHeader {
			clock := &s.shards[i].clock
			clock.observe(sent, received, header.now)
			readAt[i] = clock.local(sent, received, header.now)
		}
	}
	for _, p := range places {
		a := &answers[p.shard]
		e, ok := a.next()
		if !ok {
			continue
		}
		left := time.Duration(e.deadline-a.header.now) * time.Millisecond
		deadline := readAt[p.shard].Add(left)
		if deadline.After(received) {
			f.addLive(e, deadline)
		} else {
			f.addExpired(p, left < -overdueAfter && q.namespace != "")
		}
	}
	return f, nil
}

// found is what was found at the places of one draw.
type found struct {
	records []rendezvous.Record // live ones, without repeats, in the order of the draw
	lengths []int               // of the array of each shard
	// expired has the shards in which something expired was found, each with the
	// positions of overdue entries.
	expired map[int][]int
	seen    map[registration]struct{}
}

// registration identifies a registration.
type registration struct {
	namespace string
	peer      peer.ID
}

func newFound(shards, places int) *found {
	return &found{
		lengths: make([]int, shards),
		expired: make(map[int][]int),
		seen:    make(map[registration]struct{}, places),
	}
}

// addLive adds a live entry. An entry can be found twice if it moved in its array between
// two commands.
func (f *found) addLive(e entry, deadline time.Time) {
	key := registration{e.namespace, e.peer}
	if _, ok := f.seen[key]; ok {
		return
	}
	f.seen[key] = struct{}{}
	f.records = append(f.records, rendezvous.Record{
		Namespace: e.namespace,
		Peer:      e.peer,
		Envelope:  e.envelope,
		Deadline:  deadline,
	})
}

// addExpired adds an expired entry.
func (f *found) addExpired(p place, overdue bool) {
	positions := f.expired[p.shard]
	if overdue {
		positions = append(positions, p.pos)
	}
	f.expired[p.shard] = positions
}
