package redisstorage

// One shard of the registry.

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The largest numbers of registrations that one script purges or removes, puts into the
// order, and renews, so that it delays other calls by no more than a millisecond or two.
const (
	purgeBatch = 100
	orderBatch = 200
	renewBatch = 200
)

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
	live         int64     // registrations
	bytes        int64     // of their namespaces, peers and envelopes
	lasting      int64     // how many of live are lasting ones
	lastingBytes int64     // how many of bytes are theirs
	at           int64     // the server's time, in milliseconds
	sent         time.Time // when the shard was asked, by the clock of this process
}

// add adds or refreshes a registration, within the limits.
func (s *shard) add(ctx context.Context, a *addition) (added, error) {
	for {
		done, err := s.addOnce(ctx, a)
		if !errors.Is(err, errBehind) {
			return done, err
		}
		if _, err := s.purge(ctx, "", nil); err != nil {
			return done, err
		}
	}
}

func (s *shard) addOnce(ctx context.Context, a *addition) (done added, err error) {
	now := s.now()
	fresh, refreshOnly, id := "", "0", ""
	if a.lasting() {
		fresh = milliseconds(a.Fresh.Sub(now))
	}
	if a.refreshOnly {
		refreshOnly = "1"
	}
	if a.origin != "" {
		id = registrationID(a.Namespace, a.Peer)
	}
	r, err := s.run(ctx, addScript,
		a.Namespace, string(a.Peer), string(a.Envelope), string(a.origin), string(a.counting), id,
		milliseconds(a.Deadline.Sub(now)), fresh, number(int64(a.Kind)),
		number(s.clock.server(now)), number(a.deadline), refreshOnly, a.limits.String())
	if err != nil {
		return done, err
	}
	if len(r.values) == 1 { // the fast path
		done.refreshed, done.before = true, a.origin
		return done, readInts(r.values, &done.deadline)
	}
	if err := s.readReport(r); err != nil {
		return done, err
	}
	if len(r.values) != 3 {
		return done, errUnexpected
	}
	outcome, err := r.values[0].ToString()
	if err != nil {
		return done, err
	}
	if err := readInts(r.values[1:2], &done.deadline); err != nil {
		return done, err
	}
	before, err := r.values[2].ToString()
	if err != nil {
		return done, err
	}
	done.refreshed, done.before = outcome == "refreshed", origin(before)
	return done, outcomeError(outcome)
}

// count counts a registration for an origin until a deadline, and no longer for the origin
// before. "" is no origin; otherwise both belong to this shard. It may be refused if there is a
// limit.
func (s *shard) count(ctx context.Context, id string, before, after origin, deadline, limit int64) error {
	outcome, err := countScript.run(ctx, s.client, []string{s.index()},
		s.prefix, id, string(before), string(after), number(deadline), number(limit)).ToString()
	if err != nil {
		return callError(ctx, err)
	}
	return outcomeError(outcome)
}

// purge removes up to purgeBatch expired registrations, or moves lasting ones that are not fresh
// any more, and reports whether there may be more. It also does so with the entries at the given
// positions of a namespace's array.
func (s *shard) purge(ctx context.Context, ns string, positions []int) (more bool, err error) {
	args := []string{number(purgeBatch), ns}
	for _, pos := range positions {
		args = append(args, strconv.Itoa(pos))
	}
	r, err := s.runReporting(ctx, purgeScript, args...)
	if err != nil {
		return false, err
	}
	var purged, moved int64
	if err := readInts(r.values, &purged, &moved); err != nil {
		return false, err
	}
	s.metrics.purged.Add(purged)
	return purged+moved == purgeBatch, nil
}

// remove removes the registration of a peer in a namespace, or all of the peer's for "". It
// returns those that are to be counted no more by their origins on other shards.
func (s *shard) remove(ctx context.Context, ns string, p peer.ID, where counting) (counts []counted, err error) {
	for left := int64(1); left > 0; {
		r, err := s.runReporting(ctx, removeScript, ns, string(p), string(where), number(purgeBatch))
		if err != nil {
			return counts, err
		}
		if len(r.values) != 2 {
			return counts, errUnexpected
		}
		if err := readInts(r.values[:1], &left); err != nil {
			return counts, err
		}
		pairs, err := r.values[1].AsStrSlice()
		if err != nil {
			return counts, err
		}
		for pair := range slices.Chunk(pairs, 2) {
			counts = append(counts, counted{registrationID(pair[0], p), origin(pair[len(pair)-1])})
		}
	}
	return counts, nil
}

// renew makes the lasting registrations of peers fresh until a time.
func (s *shard) renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	var done, skip int64
	for len(peers) > 0 {
		now := s.now()
		args := []string{milliseconds(fresh.Sub(now)), number(s.clock.server(now)), number(renewBatch), number(skip)}
		for _, p := range peers[:min(len(peers), renewBatch)] {
			args = append(args, string(p))
		}
		r, err := s.runReporting(ctx, renewScript, args...)
		if err != nil {
			return err
		}
		if err := readInts(r.values, &done, &skip); err != nil {
			return err
		}
		if done == 0 && skip == 0 || done > int64(len(peers)) {
			return errUnexpected
		}
		peers = peers[done:]
	}
	return nil
}

// keepOrder makes the shard keep the order of registrations, also of those that it has.
func (s *shard) keepOrder(ctx context.Context) error {
	id := number(1 + rand.Int64N(math.MaxUint32))
	for {
		done, err := orderScript.run(ctx, s.client, []string{s.index()}, s.prefix, id, number(orderBatch)).AsInt64()
		if err != nil {
			return callError(ctx, err)
		}
		if done == 1 {
			return nil
		}
	}
}

// page returns live registrations after a place in the order of the shard, of up to n that it
// looks at. It stops after maxBytes.
func (s *shard) page(ctx context.Context, ns string, kind rendezvous.RecordKind, after mark, n, maxBytes int) (*shardPage, error) {
	for {
		r, err := s.run(ctx, pageScript, ns, number(int64(kind)), number(int64(after.order)), number(after.seq),
			strconv.Itoa(n), strconv.Itoa(maxBytes))
		if err != nil {
			return nil, err
		}
		page, err := readPage(r, s.clock.local(r.sent, r.received, r.at), kind)
		if err != nil || page.after.order != 0 {
			return page, err
		}
		if err := s.keepOrder(ctx); err != nil {
			return nil, err
		}
	}
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

// run runs a script that returns the time first.
func (s *shard) run(ctx context.Context, sc script, args ...string) (*reply, error) {
	r := &reply{sent: s.now()}
	values, err := sc.run(ctx, s.client, []string{s.index()}, append([]string{s.prefix}, args...)...).ToArray()
	if err != nil {
		return nil, callError(ctx, err)
	}
	if len(values) == 0 {
		return nil, errUnexpected
	}
	if err := readInts(values[:1], &r.at); err != nil {
		return nil, err
	}
	r.received, r.values = s.now(), values[1:]
	s.clock.observe(r.sent, r.received, r.at)
	return r, nil
}

// runReporting runs a script that returns the time and then what the shard holds.
func (s *shard) runReporting(ctx context.Context, sc script, args ...string) (*reply, error) {
	r, err := s.run(ctx, sc, args...)
	if err != nil {
		return nil, err
	}
	return r, s.readReport(r)
}

// readReport removes from a reply what the shard holds, and records it.
func (s *shard) readReport(r *reply) error {
	const size = 4
	if len(r.values) < size {
		return errUnexpected
	}
	held := report{at: r.at, sent: r.sent}
	if err := readInts(r.values[:size], &held.live, &held.bytes, &held.lasting, &held.lastingBytes); err != nil {
		return err
	}
	r.values = r.values[size:]
	s.setReport(held)
	return nil
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

func number(n int64) string { return strconv.FormatInt(n, 10) }

// milliseconds returns how much time is left, which is never negative.
func milliseconds(left time.Duration) string { return number(max(0, left).Milliseconds()) }
