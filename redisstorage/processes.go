package redisstorage

// Noticing two points with the same peer ID.

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"
)

// processTTL is how long the registry remembers which process serves as a point.
const processTTL = time.Minute

// SwapProcess writes into the registry which process serves as a point, and returns the name
// that was there before, or "" if none was written within the last minute. Names of processes
// are random. A process that calls this repeatedly and gets a name that is not its own shares
// the point's peer ID with another process.
func (s *Storage) SwapProcess(ctx context.Context, point peer.ID, process string) (before string, err error) {
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := s.shards[shardOf(point, len(s.shards))].process(point)
	before, err = s.client.Do(ctx, s.client.B().Set().Key(key).Value(process).Get().Px(processTTL).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", fmt.Errorf("write which process serves as point %s: %w", point, err)
	}
	return before, nil
}
