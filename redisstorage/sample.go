package redisstorage

// Sample: positions are drawn, all shards are asked for what is there, and what has
// ended is left out and replaced.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// maxAttempts bounds how often a Sample is begun anew. It is seldom more than
	// once: a namespace that was never asked for or has grown by much takes two.
	maxAttempts = 5
	// maxPurges bounds how many batches of what has ended a Sample takes out.
	maxPurges = 32
	// overdueAfter is how long after its end an entry that is met is taken out by
	// whoever met it: the keepers have had their time.
	overdueAfter = 2 * time.Second
	// fetchBatch is how many entries a command fetches at most, and walkBatch a
	// script, so that nobody else waits longer than a millisecond or two.
	fetchBatch = 512
	walkBatch  = 128
)

// Sample implements [rendezvous.Storage]. Deadlines are by the caller's clock: now,
// and what is left by the server's. When some shards of a cluster cannot be
// reached, the sample is of the others.
func (s *Storage) Sample(ctx context.Context, namespace string, n int) ([]rendezvous.Record, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if n <= 0 {
		return nil, nil
	}
	records, err := s.sample(ctx, namespace, n)
	if err != nil {
		return nil, fmt.Errorf("sample registrations: %w", err)
	}
	return records, nil
}

func (s *Storage) sample(ctx context.Context, ns string, n int) ([]rendezvous.Record, error) {
	known := s.lengths.of(ns, len(s.shards))
	lost := make([]bool, len(s.shards)) // those that did not answer: nobody waits for them twice
	yield := 0.0                        // of the places drawn, how many had something; 0: not tried
	for attempt := 1; ; attempt++ {
		sizes := bounds(known)
		size := sum(sizes)
		if yield == 0 {
			yield = float64(max(1, sum(known))) / float64(size)
		}
		places := draw(sizes, enough(n, size, yield))
		got, err := s.look(ctx, ns, places, lost)
		if err != nil {
			return nil, err
		}
		known = got.lengths
		s.lengths.learn(ns, known)
		complete := fit(known, sizes) // else some places could not be drawn: this is no uniform sample
		short := len(got.records) < n && len(places) < size
		s.clear(ctx, ns, got.ended, short)
		if attempt == maxAttempts || complete && !short {
			return got.records[:min(n, len(got.records))], nil
		}
		if yield = 0; complete {
			yield = (float64(len(got.records)) + 0.1) / float64(len(places))
		}
	}
}

// clear takes out what has ended and was met: what ended long ago, at any time;
// and when a sample was short of others for it, all the rest of it, too.
func (s *Storage) clear(ctx context.Context, ns string, ended map[int][]int, short bool) {
	for shard, overdue := range ended {
		if !short && len(overdue) == 0 {
			continue
		}
		for range maxPurges {
			purged, err := s.purge(ctx, shard, ns, overdue)
			if err != nil {
				log.Debug("cannot take out what has ended", "error", err)
			}
			if err != nil || !short || purged < purgeBatch {
				break
			}
			overdue = nil
		}
	}
}

// fit reports whether every array was drawn from as a whole.
func fit(lengths, sizes []int) bool {
	for i, n := range lengths {
		if n > sizes[i] {
			return false
		}
	}
	return true
}

// sampling is what was seen at some places.
type sampling struct {
	records []rendezvous.Record // the live ones, in the order they were drawn
	lengths []int               // of the arrays, now
	ended   map[int][]int       // the shards where something had ended, and the positions of what did long ago
}

// look fetches what is at some places, except those of lost shards.
func (s *Storage) look(ctx context.Context, ns string, places []place, lost []bool) (*sampling, error) {
	positions := make([][]string, len(s.shards))
	for _, p := range places {
		positions[p.shard] = append(positions[p.shard], strconv.Itoa(p.pos))
	}
	sent := s.now()
	answers, err := s.ask(ctx, ns, positions, lost)
	if err != nil {
		return nil, err
	}
	received := s.now()

	got := &sampling{lengths: make([]int, len(s.shards)), ended: make(map[int][]int)}
	asked := make([]time.Time, len(s.shards)) // when each server's clock said what it said
	for i := range answers {
		head := answers[i].head
		got.lengths[i] = int(head.length)
		if answers[i].headed {
			clock := &s.states[i].clock
			clock.observe(sent, received, head.now)
			asked[i] = clock.local(sent, received, head.now)
		}
	}
	type key struct {
		ns   string
		peer peer.ID
	}
	seen := make(map[key]struct{}, len(places))
	for _, p := range places {
		answer := &answers[p.shard]
		e, ok := answer.next()
		if !ok {
			continue
		}
		left := time.Duration(e.deadline-answer.head.now) * time.Millisecond
		deadline := asked[p.shard].Add(left)
		if !deadline.After(received) {
			overdue := got.ended[p.shard]
			if left < -overdueAfter && ns != "" {
				overdue = append(overdue, p.pos)
			}
			got.ended[p.shard] = overdue
			continue
		}
		k := key{e.namespace, e.peer}
		if _, ok := seen[k]; ok {
			continue
		}
		seen[k] = struct{}{}
		got.records = append(got.records, rendezvous.Record{
			Namespace: e.namespace,
			Peer:      e.peer,
			Envelope:  e.envelope,
			Deadline:  deadline,
		})
	}
	return got, nil
}

// ask asks every shard for its time, the length of the namespace's array, and what
// is at the given positions. Shards that do not answer, or are lost already, have
// nothing and are lost from now on; it is an error when none is left.
func (s *Storage) ask(ctx context.Context, ns string, positions [][]string, lost []bool) ([]answer, error) {
	called, cancel := context.WithTimeout(ctx, callTimeout) // for all tries together
	defer cancel()
	answers := s.askOnce(called, ns, positions, lost)
	// A few times more at most: connections were lost, and then the scripts were.
	for more := 3; more > 0 && s.again(called, ns, answers); more-- {
		answers = s.askOnce(called, ns, positions, lost)
	}
	var failed error
	missing := 0
	for i := range answers {
		if err := answers[i].err; err != nil {
			failed = explain(ctx, err)
			answers[i] = answer{}
			lost[i] = true
			missing++
		}
	}
	if missing > 0 {
		if missing == len(answers) || ctx.Err() != nil {
			return nil, failed
		}
		s.metrics.partial.Add(1)
		log.Debug("sample without the shards that did not answer", "lost", missing, "error", failed)
	}
	return answers, nil
}

// again reports whether asking a second time may help, and teaches scripts to
// servers that did not know them.
func (s *Storage) again(ctx context.Context, ns string, answers []answer) bool {
	again := false
	for i := range answers {
		err := answers[i].err
		again = again || retryable(err) && !errors.Is(err, errDown)
		if unknownScript(err) {
			sc, key := headScript, s.shards[i].array(ns)
			if ns == "" {
				sc, key = anyScript, s.shards[i].index()
			}
			answers[i].err = s.run(ctx, sc, []string{key}, s.shards[i].prefix).Error()
			again = again || answers[i].err == nil
		}
	}
	return again
}

func (s *Storage) askOnce(ctx context.Context, ns string, positions [][]string, lost []bool) []answer {
	answers := make([]answer, len(s.shards))
	var commands []rueidis.Completed
	var of []int // the shard of each command
	for i, sh := range s.shards {
		if lost[i] || s.skip(i) {
			answers[i].err = errDown
			continue
		}
		if ns == "" {
			commands = s.walk(commands, sh, positions[i])
		} else {
			commands = s.fetch(commands, sh, ns, positions[i])
		}
		for len(of) < len(commands) {
			of = append(of, i)
		}
	}
	for i, result := range s.client.DoMulti(ctx, commands...) {
		a := &answers[of[i]]
		switch {
		case a.err != nil:
		case ns == "":
			a.err = a.takeWalk(result)
		default:
			a.err = a.takeFetch(ns, result)
		}
	}
	return answers
}

var errDown = fmt.Errorf("%w: it did not answer a moment ago", rendezvous.ErrUnreachable)

// skip reports whether shard i need not be asked: the keeper has just seen that it
// does not answer, and that others do.
func (s *Storage) skip(i int) bool {
	return s.states[i].down.Load() && int(s.down.Load()) < len(s.shards)
}

// fetch appends the commands that ask a shard about one namespace.
func (s *Storage) fetch(commands []rueidis.Completed, sh shard, ns string, positions []string) []rueidis.Completed {
	array := sh.array(ns)
	commands = append(commands, headScript.byHash(s.client, []string{array}, sh.prefix))
	for some := range slices.Chunk(positions, fetchBatch) {
		commands = append(commands, s.client.B().Hmget().Key(array).Field(some...).Build())
	}
	return commands
}

// walk appends the commands that ask a shard about all namespaces, by its index:
// positions are ranks there.
func (s *Storage) walk(commands []rueidis.Completed, sh shard, ranks []string) []rueidis.Completed {
	for {
		some := ranks[:min(walkBatch, len(ranks))]
		ranks = ranks[len(some):]
		args := append([]string{sh.prefix}, some...)
		commands = append(commands, anyScript.byHash(s.client, []string{sh.index()}, args...))
		if len(ranks) == 0 {
			return commands
		}
	}
}
