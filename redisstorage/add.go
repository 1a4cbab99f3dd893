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

const noLimit = -1

// addRecord adds r to the shard of its peer.
func addRecord(ctx context.Context, shards []*shard, r rendezvous.Record, q rendezvous.Quota) error {
	if len(r.Namespace) > maxNameSize || len(r.Peer) > maxNameSize {
		return fmt.Errorf("namespace or peer ID exceeds %d bytes", maxNameSize)
	}
	perPeer := int64(noLimit)
	if q.PerPeer > 0 {
		perPeer = int64(q.PerPeer)
	}
	n := shardOf(r.Peer, len(shards))
	return shards[n].add(ctx, r, perPeer, shardLimit(shards, n, q.Total))
}

// shardLimit returns how many registrations shard n may hold: the total less what the
// other shards last reported.
func shardLimit(shards []*shard, n, total int) int64 {
	if total <= 0 {
		return noLimit
	}
	left := int64(total)
	for i, s := range shards {
		if i != n {
			left -= s.lastCount()
		}
	}
	return max(0, left)
}
