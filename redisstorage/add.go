package redisstorage

// Add: one registration, at the shard of its peer.

import (
	"context"
	"fmt"
	"strconv"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// maxNameSize bounds namespaces and peer IDs, in bytes: their lengths are kept in
// two of them. The protocol's own bounds are far below.
const maxNameSize = 1<<16 - 1

// Add implements [rendezvous.Storage]. What it has to do is one step of the server.
// The deadline is given to the server as the time left, and ends by the server's
// clock. That the server is out of memory is a [rendezvous.ErrFull].
func (s *Storage) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.add(ctx, r, q); err != nil {
		return fmt.Errorf("add registration: %w", err)
	}
	return nil
}

func (s *Storage) add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	if len(r.Namespace) > maxNameSize || len(r.Peer) > maxNameSize {
		return fmt.Errorf("namespace or peer ID is over %d bytes", maxNameSize)
	}
	n := shardOf(r.Peer, len(s.shards))
	sh := s.shards[n]
	now := s.now()
	life := max(0, r.Deadline.Sub(now))
	head, rest, err := s.call(ctx, n, addScript,
		[]string{sh.index(), sh.array(r.Namespace), sh.ledger(r.Peer), sh.names()},
		sh.prefix, r.Namespace, string(r.Peer), string(r.Envelope),
		strconv.FormatInt(int64(life/time.Millisecond), 10),
		strconv.FormatInt(s.states[n].clock.server(now), 10),
		limitArg(q.PerPeer), s.totalArg(n, q.Total))
	if err != nil {
		return err
	}
	s.states[n].heard(head)
	became, err := rest.ToString()
	if err != nil {
		return err
	}
	switch became {
	case "added":
		return nil
	case "peer":
		return rendezvous.ErrPeerLimit
	case "full":
		return rendezvous.ErrFull
	default:
		return errUnexpected
	}
}

// limitArg is a limit as scripts take it.
func limitArg(limit int) string {
	if limit <= 0 {
		return "-1"
	}
	return strconv.Itoa(limit)
}

// totalArg is what shard n may hold at most, as scripts take it: the total without
// what the other shards held when they were last heard of.
func (s *Storage) totalArg(n, total int) string {
	if total <= 0 {
		return "-1"
	}
	left := int64(total)
	for i := range s.states {
		if i != n {
			left -= s.states[i].held()
		}
	}
	return strconv.FormatInt(max(0, left), 10)
}
