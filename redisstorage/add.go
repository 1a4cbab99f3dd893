package redisstorage

// Adding a registration.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// maxNameSize bounds namespaces and peer IDs, in bytes. The scripts store their lengths
// in two bytes. The limits of the protocol are far below.
const maxNameSize = 1<<16 - 1

// renewTimeout bounds how long a registration that seems to exceed a limit waits for new
// reports.
const renewTimeout = 250 * time.Millisecond

// addRecord adds r to the shard of its peer.
func addRecord(ctx context.Context, shards []*shard, r rendezvous.Record, q rendezvous.Quota) error {
	if len(r.Namespace) > maxNameSize || len(r.Peer) > maxNameSize {
		return fmt.Errorf("namespace or peer ID exceeds %d bytes", maxNameSize)
	}
	n := shardOf(r.Peer, len(shards))
	a := &addition{
		Record:    r,
		counting:  countHere,
		perPeer:   orNoLimit(int64(q.PerPeer)),
		perOrigin: orNoLimit(int64(q.PerOrigin)),
	}
	a.total, a.bytes = shardLimits(shards, n, q)
	if q.PerOrigin > 0 {
		a.origin = originOf(r.Origin)
	}
	if len(shards) == 1 {
		_, err := shards[n].add(ctx, a)
		return err
	}
	err := addCounted(ctx, shards, n, *a)
	if !errors.Is(err, rendezvous.ErrFull) {
		return err
	}
	// Much may have expired in the other shards since they last reported.
	renewReports(ctx, shards, n)
	total, bytes := shardLimits(shards, n, q)
	if total <= a.total && bytes <= a.bytes {
		return err
	}
	a.total, a.bytes = total, bytes
	return addCounted(ctx, shards, n, *a)
}

// renewReports asks the shards except n what they hold now. It leaves out a shard that has
// not reported for a while, which probably cannot be reached.
func renewReports(ctx context.Context, shards []*shard, n int) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	asked := shards[n].now()
	var asking sync.WaitGroup
	for i, s := range shards {
		r := s.lastReport()
		if i != n && (r.live > 0 || r.bytes > 0) && asked.Sub(r.sent) < 2*visitInterval {
			asking.Go(func() { s.renewReport(ctx, asked) })
		}
	}
	asking.Wait()
}

func orNoLimit(limit int64) int64 {
	if limit <= 0 {
		return noLimit
	}
	return limit
}

// shardLimits returns how many registrations shard n may have, and how many bytes.
func shardLimits(shards []*shard, n int, q rendezvous.Quota) (total, bytes int64) {
	return shardLimit(shards, n, int64(q.Total), func(r report) int64 { return r.live }),
		shardLimit(shards, n, q.Bytes, func(r report) int64 { return r.bytes })
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
