package redisstorage

// One shard of the registry.

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// purgeBatch is how many registrations one script purges at most, so that it delays
// other calls by no more than a millisecond or two.
const purgeBatch = 100

// shard is a part of the registry: the registrations of some of the peers, in one slot.
// All methods may be called concurrently.
type shard struct {
	keys
	client  rueidis.Client
	now     func() time.Time
	metrics *metrics
	clock   clock // of the server

	mu        sync.Mutex
	count     int64 // registrations that the shard last reported to hold
	countedAt int64 // the server's time of that report, in milliseconds
}

// add adds or refreshes a registration. A negative limit is none.
func (s *shard) add(ctx context.Context, r rendezvous.Record, perPeer, total int64) error {
	now := s.now()
	lifetime := max(0, r.Deadline.Sub(now))
	header, rest, err := s.call(ctx, addScript,
		[]string{s.index(), s.array(r.Namespace), s.registrations(r.Peer), s.names()},
		s.prefix, r.Namespace, string(r.Peer), string(r.Envelope),
		strconv.FormatInt(lifetime.Milliseconds(), 10), strconv.FormatInt(s.clock.server(now), 10),
		strconv.FormatInt(perPeer, 10), strconv.FormatInt(total, 10))
	if err != nil {
		return err
	}
	s.setCount(header)
	outcome, err := rest.ToString()
	if err != nil {
		return err
	}
	switch outcome {
	case "added":
		return nil
	case "peer":
		return rendezvous.ErrPeerLimit
	case "full":
		return rendezvous.ErrFull
	default:
		return errUnexpected
	}
}

// purge removes up to purgeBatch expired registrations and returns how many it removed.
// It also removes the entries at the given positions of a namespace's array, if they
// have expired.
func (s *shard) purge(ctx context.Context, ns string, positions []int) (purged int64, err error) {
	args := []string{s.prefix, strconv.Itoa(purgeBatch), ns}
	for _, pos := range positions {
		args = append(args, strconv.Itoa(pos))
	}
	header, rest, err := s.call(ctx, purgeScript, []string{s.index()}, args...)
	if err != nil {
		return 0, err
	}
	s.setCount(header)
	if purged, err = rest.AsInt64(); err != nil {
		return 0, err
	}
	s.metrics.purged.Add(purged)
	return purged, nil
}

// call runs a script that returns a header and one more value.
func (s *shard) call(ctx context.Context, sc script, keys []string, args ...string) (header, rueidis.RedisMessage, error) {
	sent := s.now()
	values, err := sc.run(ctx, s.client, keys, args...).ToArray()
	if err != nil {
		return header{}, rueidis.RedisMessage{}, callError(ctx, err)
	}
	if len(values) != 3 {
		return header{}, rueidis.RedisMessage{}, errUnexpected
	}
	h, err := readHeader(values[:2])
	if err != nil {
		return header{}, rueidis.RedisMessage{}, err
	}
	s.clock.observe(sent, s.now(), h.now)
	return h, values[2], nil
}

// setCount records how many registrations the shard reports to hold. A report that was
// overtaken by a later one is ignored, unless it is so much older that the server's
// clock must have been set.
func (s *shard) setCount(h header) {
	const clockSet = 5000 // milliseconds
	s.mu.Lock()
	defer s.mu.Unlock()
	overtaken := h.now < s.countedAt || h.now == s.countedAt && h.length < s.count
	if !overtaken || s.countedAt-h.now > clockSet {
		s.count, s.countedAt = h.length, h.now
	}
}

// lastCount returns how many registrations the shard last reported to hold.
func (s *shard) lastCount() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
