package redisstorage

// Registrations per origin, that is, per address that they come from.
//
// On a single node the script that adds a registration also counts it. On a cluster the
// tallies of an origin are in another slot than the registration, in general. There, a
// new registration is counted first, and no more if it cannot be added then. A refresh is
// moved in the tallies after it was made, and is never refused. What gets lost on the way
// leaves the tallies at its deadline.

import (
	"context"
	"time"
)

// moveTimeout bounds how long a refresh waits until it is moved in the tallies.
const moveTimeout = 250 * time.Millisecond

// addCounted adds a registration whose peer is in shard n of a cluster, and counts it by its
// origin.
func addCounted(ctx context.Context, shards []*shard, n int, a *addition) error {
	a.refreshOnly = a.origin != ""
	done, err := shards[n].add(ctx, a)
	if err != nil {
		return err
	}
	if !a.refreshOnly || done.refreshed {
		moveCounted(ctx, shards, done.before, counted{a.origin, done.deadline})
		return nil
	}
	// A new registration. Its deadline is fixed now, because the tallies need it.
	a.refreshOnly, a.deadline = false, done.deadline
	reserved := counted{a.origin, done.deadline}
	if err := shards[a.origin.shard(len(shards))].count(ctx, counted{}, reserved, a.perOrigin); err != nil {
		return err
	}
	done, err = shards[n].add(ctx, a)
	switch {
	case err != nil:
		moveCounted(ctx, shards, reserved, counted{})
	case done.refreshed: // another call has added it in the meantime
		moveCounted(ctx, shards, done.before, counted{})
	}
	return err
}

// moveCounted moves a registration in the tallies of its shards. Errors are not the
// caller's: what is counted wrongly is so until its deadline.
func moveCounted(ctx context.Context, shards []*shard, from, to counted) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTimeout)
	defer cancel()
	move := func(from, to counted) {
		if from == to {
			return
		}
		o := from.origin
		if o == "" {
			o = to.origin
		}
		if err := shards[o.shard(len(shards))].count(ctx, from, to, noLimit); err != nil {
			log.Debug("cannot count a registration by its origin", "error", err)
		}
	}
	if from.origin == to.origin {
		if from.origin != "" {
			move(from, to)
		}
		return
	}
	if from.origin != "" {
		move(from, counted{})
	}
	if to.origin != "" {
		move(counted{}, to)
	}
}
