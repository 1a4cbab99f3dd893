package redisstorage

// Registrations per origin, that is, per address that they come from.
//
// On a single node the script that adds a registration also counts it. On a cluster the
// tallies of an origin are in another slot than the registration, in general. There, a
// new registration is counted first, and no more if it cannot be added then. A refresh is
// moved in the tallies after it was made, and is never refused. If it comes from another
// origin, it is counted there, stored again, and no more counted where it was before. What
// gets lost on the way leaves the tallies at its deadline.

import (
	"context"
	"time"
)

// moveTimeout bounds how long a refresh waits until it is moved in the tallies.
const moveTimeout = 250 * time.Millisecond

// addCounted adds a registration whose peer is in shard n of a cluster, and counts it by its
// origin.
func addCounted(ctx context.Context, shards []*shard, n int, a addition) error {
	a.counting, a.refreshOnly = countElsewhere, a.origin != ""
	done, err := shards[n].add(ctx, &a)
	if err != nil {
		return err
	}
	var current counted
	if !a.refreshOnly || done.refreshed {
		current = counted{a.origin, done.deadline}
		if a.refreshOnly {
			current.origin = done.before.origin
		}
		moveCounted(ctx, shards, done.before, current)
		if current.origin == a.origin {
			return nil
		}
	}
	// A new registration, or one from another origin. Its deadline is fixed now, because the
	// tallies need it.
	a.deadline, a.refreshOnly = done.deadline, done.refreshed
	err = addReserved(ctx, shards, n, a, current)
	if err != nil && done.refreshed {
		log.Debug("a refreshed registration stays counted by its former origin", "error", err)
		return nil
	}
	return err
}

// addReserved counts a registration by its origin, if there is room, and then stores it. It
// is counted as current until then.
func addReserved(ctx context.Context, shards []*shard, n int, a addition, current counted) error {
	a.counting = countReserved
	o := a.origin.shard(len(shards))
	reserved := counted{a.origin, a.deadline}
	var released counted
	if current.origin != "" && current.origin.shard(len(shards)) == o {
		released = current // in the same step, because both may be in one /56 or /48
	}
	if err := shards[o].count(ctx, released, reserved, a.perOrigin); err != nil {
		return err
	}
	done, err := shards[n].add(ctx, &a)
	switch {
	case err != nil, a.refreshOnly && !done.refreshed: // or another call has removed it
		moveCounted(ctx, shards, reserved, released)
	case done.refreshed: // if it was new, another call has added it in the meantime
		moveCounted(ctx, shards, done.before, released)
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
