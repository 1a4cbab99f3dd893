package redisstorage

// Adding a registration.

import (
	"context"
	"fmt"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// maxNameSize bounds namespaces and peer IDs, in bytes. The scripts store their lengths
// in two bytes. The limits of the protocol are far below.
const maxNameSize = 1<<16 - 1

// addRecord adds r to the shard of its peer.
func addRecord(ctx context.Context, shards []*shard, r rendezvous.Record, q rendezvous.Quota) error {
	if len(r.Namespace) > maxNameSize || len(r.Peer) > maxNameSize {
		return fmt.Errorf("namespace or peer ID exceeds %d bytes", maxNameSize)
	}
	n := shardOf(r.Peer, len(shards))
	a := &addition{
		Record:    r,
		countHere: len(shards) == 1,
		perPeer:   orNoLimit(int64(q.PerPeer)),
		perOrigin: orNoLimit(int64(q.PerOrigin)),
		total:     shardLimit(shards, n, int64(q.Total), func(r report) int64 { return r.live }),
		bytes:     shardLimit(shards, n, q.Bytes, func(r report) int64 { return r.bytes }),
	}
	if q.PerOrigin > 0 {
		a.origin = originOf(r.Origin)
	}
	if a.countHere {
		_, err := shards[n].add(ctx, a)
		return err
	}
	return addCounted(ctx, shards, n, a)
}

func orNoLimit(limit int64) int64 {
	if limit <= 0 {
		return noLimit
	}
	return limit
}

// shardLimit returns how much of a total is left for shard n: the total less what the
// other shards last reported.
func shardLimit(shards []*shard, n int, total int64, amount func(report) int64) int64 {
	if total <= 0 {
		return noLimit
	}
	for i, s := range shards {
		if i != n {
			total -= amount(s.lastReport())
		}
	}
	return max(0, total)
}
