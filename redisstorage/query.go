package redisstorage

// Asking all shards for entries.

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/rueidis"
)

// arrayBatch is how many entries one command fetches from an array at most, and
// rankBatch how many one script fetches by rank, so that they delay other calls by no
// more than a millisecond or two.
const (
	arrayBatch = 512
	rankBatch  = 128
)

// query asks all shards for entries, on behalf of one Sample. It may ask several times.
// A shard that fails to answer is not asked again.
type query struct {
	client    rueidis.Client
	shards    []*shard
	health    *health
	metrics   *metrics
	namespace string // "" for all
	lost      []bool // by shard: did not answer
	// byRank asks for entries by their rank in the order of deadlines, the latest first,
	// instead of their position in an array. It is always so for all namespaces.
	byRank bool
}

// ask asks each shard for its time, the length of its array (or index) and the entries
// at the given positions of the array (or ranks of the index). A lost shard has the zero
// answer. It is an error if all are lost.
func (q *query) ask(ctx context.Context, positions [][]string) ([]answer, error) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout) // for all attempts together
	defer cancel()
	answers := q.askOnce(callCtx, positions)
	// Three more attempts are enough: for lost connections, and then for scripts that a
	// new server does not know.
	for more := 3; more > 0 && q.shouldRetry(callCtx, answers); more-- {
		answers = q.askOnce(callCtx, positions)
	}
	var failed error
	missing := 0
	for i := range answers {
		if err := answers[i].err; err != nil {
			failed = callError(ctx, err)
			answers[i] = answer{}
			q.lost[i] = true
			missing++
		}
	}
	if missing > 0 {
		if missing == len(answers) || ctx.Err() != nil {
			return nil, failed
		}
		q.metrics.partial.Add(1)
		log.Debug("sampled without the shards that did not answer", "missing", missing, "error", failed)
	}
	return answers, nil
}

// askOnce makes one attempt with all commands in one round trip.
func (q *query) askOnce(ctx context.Context, positions [][]string) []answer {
	answers := make([]answer, len(q.shards))
	var commands []rueidis.Completed
	var shardOfCommand []int
	for i := range q.shards {
		if q.lost[i] || q.health.skip(i) {
			answers[i].err = errDown
			continue
		}
		for _, command := range q.commands(i, positions[i]) {
			commands = append(commands, command)
			shardOfCommand = append(shardOfCommand, i)
		}
	}
	for i, result := range q.client.DoMulti(ctx, commands...) {
		a := &answers[shardOfCommand[i]]
		switch {
		case a.err != nil:
		case q.byRank:
			a.err = a.addRanks(result)
		default:
			a.err = a.addArray(q.namespace, result)
		}
	}
	return answers
}

// commands returns the commands for shard n.
func (q *query) commands(n int, positions []string) (commands []rueidis.Completed) {
	s := q.shards[n]
	if q.byRank {
		batches := slices.Collect(slices.Chunk(positions, rankBatch))
		if len(batches) == 0 {
			batches = [][]string{nil} // one call, for the header
		}
		for _, batch := range batches {
			args := append([]string{s.prefix, q.namespace}, batch...)
			commands = append(commands, ranksScript.byHash(q.client, []string{s.index()}, args...))
		}
		return commands
	}
	array := s.array(q.namespace)
	commands = append(commands, lengthScript.byHash(q.client, []string{array, s.deadlines(q.namespace)}, s.prefix))
	for batch := range slices.Chunk(positions, arrayBatch) {
		commands = append(commands, q.client.B().Hmget().Key(array).Field(batch...).Build())
	}
	return commands
}

// shouldRetry reports whether another attempt may get more answers. It sends the script
// to servers that do not know it.
func (q *query) shouldRetry(ctx context.Context, answers []answer) bool {
	retry := false
	for i := range answers {
		err := answers[i].err
		retry = retry || retryable(err) && !errors.Is(err, errDown)
		if isUnknownScript(err) {
			s := q.shards[i]
			if q.byRank {
				answers[i].err = ranksScript.run(ctx, q.client, []string{s.index()}, s.prefix, q.namespace).Error()
			} else {
				answers[i].err = lengthScript.run(ctx, q.client, []string{s.array(q.namespace), s.deadlines(q.namespace)}, s.prefix).Error()
			}
			retry = retry || answers[i].err == nil
		}
	}
	return retry
}
