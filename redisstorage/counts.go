package redisstorage

// Counting registrations and namespaces.

import (
	"context"
	"slices"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// maxNames bounds how many names of namespaces are fetched. They are fetched so that a
// namespace in several shards counts once.
const maxNames = 50_000

// countAll counts registrations and namespaces in all shards. The registrations of a shard
// that cannot be reached are counted as it last reported them.
func countAll(ctx context.Context, client rueidis.Client, shards []*shard) (counts rendezvous.Counts, err error) {
	// An index has a negative score too, which is not a registration.
	size := func(index string) rueidis.Completed {
		return client.B().Zcount().Key(index).Min("1").Max("+inf").Build()
	}
	sizes, err := askEach(ctx, client, shards, func(s *shard) []rueidis.Completed {
		return []rueidis.Completed{size(s.index()), size(s.lasting()), size(s.unusual())}
	})
	if err != nil {
		return counts, err
	}
	for i, results := range sizes {
		n, err := sumInts(results)
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
	sizes, err := askEach(ctx, client, shards, func(s *shard) []rueidis.Completed {
		return []rueidis.Completed{client.B().Scard().Key(s.names()).Build()}
	})
	if err != nil {
		return 0, err
	}
	most, sum := 0, 0
	for _, results := range sizes {
		if n, err := sumInts(results); err == nil {
			most = max(most, int(n))
			sum += int(n)
		}
	}
	if len(shards) == 1 || sum > maxNames {
		return most, nil
	}
	lists, err := askEach(ctx, client, shards, func(s *shard) []rueidis.Completed {
		return []rueidis.Completed{client.B().Smembers().Key(s.names()).Build()}
	})
	if err != nil {
		return 0, err
	}
	distinct := make(map[string]struct{})
	for _, results := range lists {
		names, _ := results[0].AsStrSlice() // a shard that cannot be reached has none
		for _, name := range names {
			distinct[name] = struct{}{}
		}
	}
	return max(most, len(distinct)), nil
}

// askEach sends commands to each shard, all in one round trip, and returns the results by
// shard. It returns an error only if no shard answers.
func askEach(ctx context.Context, client rueidis.Client, shards []*shard, commands func(*shard) []rueidis.Completed) ([][]rueidis.RedisResult, error) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var all []rueidis.Completed
	for _, s := range shards {
		all = append(all, commands(s)...)
	}
	results := client.DoMulti(callCtx, all...)
	byShard := slices.Collect(slices.Chunk(results, len(all)/len(shards)))
	var failed error
	for _, result := range results {
		err := result.Error()
		if err == nil {
			return byShard, nil
		}
		failed = callError(ctx, err)
	}
	return nil, failed
}

func sumInts(results []rueidis.RedisResult) (sum int64, err error) {
	for _, result := range results {
		n, err := result.AsInt64()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
