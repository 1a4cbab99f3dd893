package redisstorage

// One shard of the registry.

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"
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

	renewing chan struct{} // has an element while a report is renewed

	mu   sync.Mutex
	last report
}

func newShard(k keys, client rueidis.Client, now func() time.Time, m *metrics) *shard {
	return &shard{keys: k, client: client, now: now, metrics: m, renewing: make(chan struct{}, 1)}
}

// report is how much a shard reports to hold.
type report struct {
	live  int64     // registrations
	bytes int64     // of their namespaces, peers and envelopes
	at    int64     // the server's time, in milliseconds
	sent  time.Time // when the shard was asked, by the clock of this process
}

// add adds or refreshes a registration, within the limits.
func (s *shard) add(ctx context.Context, a *addition) (done added, err error) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	refreshOnly := "0"
	if a.refreshOnly {
		refreshOnly = "1"
	}
	now := s.now()
	lifetime := max(0, a.Deadline.Sub(now))
	rest, err := s.call(ctx, addScript,
		[]string{s.index(), s.array(a.Namespace), s.deadlines(a.Namespace), s.registrations(a.Peer), s.names(), s.bytes()},
		s.prefix, a.Namespace, string(a.Peer), string(a.Envelope), string(a.origin), string(a.counting),
		number(lifetime.Milliseconds()), number(s.clock.server(now)), number(a.deadline), refreshOnly,
		number(a.perPeer), number(a.perOrigin), number(a.total), number(a.bytes))
	if err != nil {
		return done, err
	}
	if len(rest) != 4 {
		return done, errUnexpected
	}
	outcome, err := rest[0].ToString()
	if err != nil {
		return done, err
	}
	if err := readInts(rest[1:3], &done.deadline, &done.before.deadline); err != nil {
		return done, err
	}
	before, err := rest[3].ToString()
	if err != nil {
		return done, err
	}
	done.refreshed, done.before.origin = outcome == "refreshed", origin(before)
	return done, outcomeError(outcome)
}

// count replaces one registration in the tallies of this shard by another. Of two origins,
// both belong to this shard. With a limit it may be refused.
func (s *shard) count(ctx context.Context, from, to counted, limit int64) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	outcome, err := originScript.run(ctx, s.client, []string{s.index()},
		s.prefix, string(from.origin), number(from.deadline), string(to.origin), number(to.deadline), number(limit)).ToString()
	if err != nil {
		return callError(ctx, err)
	}
	return outcomeError(outcome)
}

// purge removes up to purgeBatch expired registrations and returns how many it removed.
// It also removes the entries at the given positions of a namespace's array, if they
// have expired.
func (s *shard) purge(ctx context.Context, ns string, positions []int) (purged int64, err error) {
	args := []string{s.prefix, strconv.Itoa(purgeBatch), ns}
	for _, pos := range positions {
		args = append(args, strconv.Itoa(pos))
	}
	rest, err := s.call(ctx, purgeScript, []string{s.index()}, args...)
	if err != nil {
		return 0, err
	}
	if err := readInts(rest, &purged); err != nil {
		return 0, err
	}
	s.metrics.purged.Add(purged)
	return purged, nil
}

// renewReport asks the shard what it holds, unless it has reported since asked. Callers
// that come at the same time share one report.
func (s *shard) renewReport(ctx context.Context, asked time.Time) {
	select {
	case s.renewing <- struct{}{}:
		defer func() { <-s.renewing }()
	case <-ctx.Done():
		return
	}
	if s.lastReport().sent.After(asked) {
		return
	}
	if _, err := s.purge(ctx, "", nil); err != nil {
		log.Debug("cannot renew the report of a shard", "error", err)
	}
}

// call runs a script that returns the time, what the shard holds, and more values.
func (s *shard) call(ctx context.Context, sc script, keys []string, args ...string) ([]rueidis.RedisMessage, error) {
	sent := s.now()
	values, err := sc.run(ctx, s.client, keys, args...).ToArray()
	if err != nil {
		return nil, callError(ctx, err)
	}
	const size = 3 // of a report
	if len(values) < size {
		return nil, errUnexpected
	}
	r := report{sent: sent}
	if err := readInts(values[:size], &r.at, &r.live, &r.bytes); err != nil {
		return nil, err
	}
	s.clock.observe(sent, s.now(), r.at)
	if r.live >= 0 {
		s.setReport(r)
	}
	return values[size:], nil
}

// setReport records how much the shard reports to hold. A report that was overtaken by a
// later one is ignored, unless it is so much older that the server's clock must have been
// set.
func (s *shard) setReport(r report) {
	const clockSet = 5000 // milliseconds
	s.mu.Lock()
	defer s.mu.Unlock()
	overtaken := r.at < s.last.at || r.at == s.last.at && r.live < s.last.live
	if !overtaken || s.last.at-r.at > clockSet {
		s.last = r
	}
}

// lastReport returns how much the shard last reported to hold.
func (s *shard) lastReport() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
