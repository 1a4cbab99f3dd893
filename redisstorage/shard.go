package redisstorage

// Who is kept where. A registration goes to the shard of its peer, so that all that
// one Add looks at has one hash tag, and a namespace of a million peers is spread
// over all shards.

import (
	"hash/fnv"

	"github.com/libp2p/go-libp2p/core/peer"
)

// tags are the hash tags of a cluster's shards. Their slots are a twelfth of all
// slots apart (the middles of twelve equal parts), so that two, three, four or six
// masters with equal parts of the slots have equally many shards. All points must
// agree on them.
var tags = []string{"18e", "5nw", "7gz", "1mo", "h85", "72p", "f0s", "7l1", "hft", "fey", "b3k", "506"}

// shard is a part of the registry that is kept in one slot. Its keys are those of
// lua/lib.lua; what a peer chose comes last in them, behind the hash tag.
type shard struct {
	prefix string
}

// newShards returns the shards of a cluster, or the one of a single node.
func newShards(prefix string, cluster bool) []shard {
	n := 1
	if cluster {
		n = len(tags)
	}
	shards := make([]shard, n)
	for i := range shards {
		shards[i] = shard{prefix: prefix + ":{" + tags[i] + "}"}
	}
	return shards
}

func (s shard) index() string            { return s.prefix + ":i" }
func (s shard) names() string            { return s.prefix + ":n" }
func (s shard) array(ns string) string   { return s.prefix + ":a:" + ns }
func (s shard) ledger(of peer.ID) string { return s.prefix + ":p:" + string(of) }

// shardOf returns the number of the shard that has a peer's registrations.
func shardOf(p peer.ID, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(p))
	return int(h.Sum32() % uint32(shards))
}
