package redisstorage

// Counts: how much there is in all shards.

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// namesCompared is up to how many names of namespaces, over all shards, are fetched
// to count those that several shards have once.
const namesCompared = 50_000

// Counts implements [rendezvous.Storage]. Of a shard that cannot be reached it
// counts what that held when it was last heard of. On a cluster, when there are
// tens of thousands of namespaces, only those in the fullest shard are counted.
func (s *Storage) Counts(ctx context.Context) (rendezvous.Counts, error) {
	if err := s.enter(); err != nil {
		return rendezvous.Counts{}, err
	}
	defer s.leave()
	counts, err := s.counts(ctx)
	if err != nil {
		return rendezvous.Counts{}, fmt.Errorf("count registrations: %w", err)
	}
	return counts, nil
}

func (s *Storage) counts(ctx context.Context) (counts rendezvous.Counts, err error) {
	held, err := s.each(ctx, func(sh shard) rueidis.Completed { return s.client.B().Zcard().Key(sh.index()).Build() })
	if err != nil {
		return counts, err
	}
	for i, result := range held {
		n, err := result.AsInt64()
		if err != nil {
			n = s.states[i].held()
		}
		counts.Registrations += int(n)
	}

	named, err := s.each(ctx, func(sh shard) rueidis.Completed { return s.client.B().Scard().Key(sh.names()).Build() })
	if err != nil {
		return counts, err
	}
	all := 0
	for _, result := range named {
		if n, err := result.AsInt64(); err == nil {
			counts.Namespaces = max(counts.Namespaces, int(n))
			all += int(n)
		}
	}
	if len(s.shards) == 1 || all > namesCompared {
		return counts, nil
	}
	lists, err := s.each(ctx, func(sh shard) rueidis.Completed { return s.client.B().Smembers().Key(sh.names()).Build() })
	if err != nil {
		return counts, err
	}
	distinct := make(map[string]struct{})
	for _, result := range lists {
		names, _ := result.AsStrSlice() // of a shard that does not answer: none
		for _, name := range names {
			distinct[name] = struct{}{}
		}
	}
	counts.Namespaces = max(counts.Namespaces, len(distinct))
	return counts, nil
}

// each asks every shard the same. It is an error when none answers.
func (s *Storage) each(ctx context.Context, question func(shard) rueidis.Completed) ([]rueidis.RedisResult, error) {
	called, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(s.shards))
	for i, sh := range s.shards {
		commands[i] = question(sh)
	}
	results := s.client.DoMulti(called, commands...)
	var failed error
	for _, result := range results {
		err := result.Error()
		if err == nil {
			return results, nil
		}
		failed = explain(ctx, err)
	}
	return nil, failed
}
