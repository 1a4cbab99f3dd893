package redisstorage

// Counting registrations and namespaces.

import (
	"context"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// maxNames bounds how many names of namespaces are fetched. They are fetched to count a
// namespace once that is in several shards.
const maxNames = 50_000

// countAll counts registrations and namespaces in all shards. The registrations of a shard
// that cannot be reached are counted as it last reported them.
func countAll(ctx context.Context, client rueidis.Client, shards []*shard) (counts rendezvous.Counts, err error) {
	sizes, err := askEach(ctx, client, shards, func(s *shard) rueidis.Completed { return client.B().Zcard().Key(s.index()).Build() })
	if err != nil {
		return counts, err
	}
	for i, result := range sizes {
		n, err := result.AsInt64()
		if err != nil {
			n = shards[i].lastReport().live
		}
		counts.Registrations += int(n)
	}
	counts.Namespaces, err = countNamespaces(ctx, client, shards)
	return counts, err
}

// countNamespaces counts the namespaces in all shards. With more than maxNames names it
// returns how many are in the shard that has the most.
func countNamespaces(ctx context.Context, client rueidis.Client, shards []*shard) (int, error) {
	sizes, err := askEach(ctx, client, shards, func(s *shard) rueidis.Completed { return client.B().Scard().Key(s.names()).Build() })
	if err != nil {
		return 0, err
	}
	most, sum := 0, 0
	for _, result := range sizes {
		if n, err := result.AsInt64(); err == nil {
			most = max(most, int(n))
			sum += int(n)
		}
	}
	if len(shards) == 1 || sum > maxNames {
		return most, nil
	}
	lists, err := askEach(ctx, client, shards, func(s *shard) rueidis.Completed { return client.B().Smembers().Key(s.names()).Build() })
	if err != nil {
		return 0, err
	}
	distinct := make(map[string]struct{})
	for _, result := range lists {
		names, _ := result.AsStrSlice() // a shard that cannot be reached has none
		for _, name := range names {
			distinct[name] = struct{}{}
		}
	}
	return max(most, len(distinct)), nil
}

// askEach sends a command to each shard. It returns an error only if no shard answers.
func askEach(ctx context.Context, client rueidis.Client, shards []*shard, command func(*shard) rueidis.Completed) ([]rueidis.RedisResult, error) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(shards))
	for i, s := range shards {
		commands[i] = command(s)
	}
	results := client.DoMulti(callCtx, commands...)
	var failed error
	for _, result := range results {
		err := result.Error()
		if err == nil {
			return results, nil
		}
		failed = callError(ctx, err)
	}
	return nil, failed
}
