package redisstorage

// Registrations per origin, that is, per address that they come from.
//
// On a single node, the script that adds a registration also counts it for its origin. On a
// cluster, the origin is usually in another slot than the registration. There, a new registration
// is counted first, and the count is taken back if it cannot be added. A refresh is counted after
// it was made, and is never refused. A refresh from another origin is counted for the new one,
// stored again, and then no longer counted for the old one. If a step fails, the registration
// stays counted until its deadline.

import (
	"context"
	"time"
)

// countTimeout bounds how long a refresh waits until it is counted.
const countTimeout = 250 * time.Millisecond

// addCounted adds a registration whose peer is in shard n of a cluster, and counts it by its
// origin.
func addCounted(ctx context.Context, shards []*shard, n int, a addition) error {
	a.counting, a.refreshOnly = countElsewhere, a.origin != ""
	done, err := shards[n].add(ctx, &a)
	if err != nil {
		return err
	}
	id := registrationID(a.Namespace, a.Peer)
	if a.origin == "" {
		moveCounted(ctx, shards, id, done.before, "", done.deadline)
		return nil
	}
	if done.refreshed {
		moveCounted(ctx, shards, id, done.before, done.before, done.deadline)
		if done.before == a.origin {
			return nil
		}
	}
	// A new registration, or one from another origin. Its deadline is fixed now, because it is
	// counted before it is stored.
	a.deadline, a.refreshOnly = done.deadline, done.refreshed
	err = addReserved(ctx, shards, n, a, done.before)
	if err != nil && done.refreshed {
		log.Debug("a refreshed registration stays counted by its former origin", "error", err)
		return nil
	}
	return err
}

// addReserved counts a registration by its origin, if there is room, and then stores it. Until
// then it is counted by the origin before, unless that is "".
func addReserved(ctx context.Context, shards []*shard, n int, a addition, before origin) error {
	a.counting = countReserved
	id, o := registrationID(a.Namespace, a.Peer), a.origin.shard(len(shards))
	released := origin("")
	if before != "" && before.shard(len(shards)) == o {
		released = before // in the same step, because both may be in one /56 or /48
	}
	if err := shards[o].count(ctx, id, released, a.origin, a.deadline, a.limits.perOrigin); err != nil {
		return err
	}
	done, err := shards[n].add(ctx, &a)
	switch {
	case err != nil, a.refreshOnly && !done.refreshed: // or another call has removed it
		moveCounted(ctx, shards, id, a.origin, released, a.deadline)
	case done.before != a.origin && done.before != released: // or another call has added it in the meantime
		moveCounted(ctx, shards, id, done.before, "", a.deadline)
	}
	return err
}

// moveCounted counts a registration by another origin than before, or until another deadline.
// It returns no error: a registration that is counted wrongly is so only until its deadline.
func moveCounted(ctx context.Context, shards []*shard, id string, before, after origin, deadline int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
	defer cancel()
	count := func(shard int, before, after origin) {
		if err := shards[shard].count(ctx, id, before, after, deadline, noLimit); err != nil {
			log.Debug("cannot count a registration by its origin", "error", err)
		}
	}
	switch from, to := before.shard(len(shards)), after.shard(len(shards)); {
	case before == "" && after == "":
	case before == "" || before == after:
		count(to, "", after)
	case after == "":
		count(from, before, "")
	case from == to:
		count(to, before, after)
	default:
		count(from, before, "")
		count(to, "", after)
	}
}
