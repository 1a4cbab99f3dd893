package redisstorage

// Which shards can be reached.

import (
	"fmt"
	"sync/atomic"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// errDown is the error of a shard that a call leaves out.
var errDown = fmt.Errorf("%w: shard did not answer its last visit", rendezvous.ErrUnreachable)

// health knows which shards answered their last visit. All methods may be called
// concurrently.
type health struct {
	down []atomic.Bool // by shard
	n    atomic.Int32  // how many of down are true
}

func newHealth(shards int) *health { return &health{down: make([]atomic.Bool, shards)} }

// fail records that a shard did not answer. The log has one line when the first shard
// goes down and one when all are back, however many there are.
func (h *health) fail(shard int, err error) {
	if h.down[shard].CompareAndSwap(false, true) && h.n.Add(1) == 1 {
		log.Warn("servers cannot be reached", "shard", shard, "error", err)
	}
}

// succeed records that a shard answered.
func (h *health) succeed(shard int) {
	if h.down[shard].CompareAndSwap(true, false) && h.n.Add(-1) == 0 {
		log.Info("servers can be reached again")
	}
}

// numDown returns how many shards are down.
func (h *health) numDown() int { return int(h.n.Load()) }

// skip reports whether a call can do without a shard: it is down and others are not.
func (h *health) skip(shard int) bool {
	return h.down[shard].Load() && h.numDown() < len(h.down)
}
