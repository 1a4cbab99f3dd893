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
	a := &addition{Record: r, counting: countHere, limits: shardLimits(shards, n, q)}
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
	before := a.limits
	if a.limits = shardLimits(shards, n, q); a.limits == before {
		return err
	}
	return addCounted(ctx, shards, n, *a)
}

// renewReports asks all shards but n what they hold now. It leaves out a shard that has
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

// shardLimits returns how much shard n may hold.
func shardLimits(shards []*shard, n int, q rendezvous.Quota) limits {
	average := int64(noLimit)
	if q.Bytes > 0 && q.Total > 0 {
		average = q.Bytes / int64(q.Total)
	}
	return limits{
		average:      average,
		perPeer:      orNoLimit(int64(q.PerPeer)),
		perOrigin:    orNoLimit(int64(q.PerOrigin)),
		total:        shardLimit(shards, n, int64(q.Total), 1, func(r report) int64 { return r.live }),
		bytes:        shardLimit(shards, n, q.Bytes, 1, func(r report) int64 { return r.bytes }),
		lastingTotal: shardLimit(shards, n, int64(q.Total), 2, func(r report) int64 { return r.lasting }),
		lastingBytes: shardLimit(shards, n, q.Bytes, 2, func(r report) int64 { return r.lastingBytes }),
	}
}

func orNoLimit(limit int64) int64 {
	if limit <= 0 {
		return noLimit
	}
	return limit
}

// shardLimit returns what is left for shard n of total divided by part, which
// counts as at least 1: that share less what the other shards last reported.
func shardLimit(shards []*shard, n int, total, part int64, amount func(report) int64) int64 {
	if total <= 0 {
		return noLimit
	}
	left := max(1, total/part)
	for i, s := range shards {
		if i != n {
			left -= amount(s.lastReport())
		}
	}
	return max(0, left)
}
