package redisstorage

// Removing registrations, and making them fresh again.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// removeRecords removes the registration of a peer in a namespace, or all of the peer's for "".
func removeRecords(ctx context.Context, shards []*shard, ns string, p peer.ID) error {
	where := countHere
	if len(shards) > 1 {
		where = countElsewhere
	}
	counts, err := shards[shardOf(p, len(shards))].remove(ctx, ns, p, where)
	for _, c := range counts {
		moveCounted(ctx, shards, c.id, c.origin, "", 0)
	}
	return err
}

// renewAll makes the lasting registrations of peers fresh until a time, by shard. It does as much
// of that as it can, also if some shards cannot be reached. It does not wait for those that did
// not answer their last visit.
func renewAll(ctx context.Context, shards []*shard, h *health, peers []peer.ID, fresh time.Time) error {
	byShard := make([][]peer.ID, len(shards))
	for _, p := range peers {
		n := shardOf(p, len(shards))
		byShard[n] = append(byShard[n], p)
	}
	errs := make([]error, len(shards))
	var renewing sync.WaitGroup
	for n, peers := range byShard {
		switch {
		case len(peers) == 0:
		case h.skip(n):
			errs[n] = fmt.Errorf("%w: shard %d is down", rendezvous.ErrUnreachable, n)
		default:
			renewing.Go(func() { errs[n] = shards[n].renew(ctx, peers, fresh) })
		}
	}
	renewing.Wait()
	return errors.Join(errs...)
}
