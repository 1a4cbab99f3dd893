package redisstorage

// The keys of a shard, and which shard a peer belongs to.

import (
	"hash/fnv"

	"github.com/libp2p/go-libp2p/core/peer"
)

// tags are the hash tags of the shards of a cluster. All points must use the same ones.
// The slots of the tags are the middles of twelve equal ranges of slots. So if two,
// three, four, six or twelve masters have equal ranges of slots, they have equally many
// shards.
var tags = []string{"18e", "5nw", "7gz", "1mo", "h85", "72p", "f0s", "7l1", "hft", "fey", "b3k", "506"}

// keys names the keys of a shard, which lua/lib.lua describes. They begin with the hash
// tag, so bytes that a peer chose, which come last, cannot change the slot.
type keys struct {
	prefix string
}

// newKeys returns the keys of each shard: one on a single node, or twelve on a cluster.
func newKeys(prefix string, cluster bool) []keys {
	n := 1
	if cluster {
		n = len(tags)
	}
	all := make([]keys, n)
	for i := range all {
		all[i] = keys{prefix: prefix + ":{" + tags[i] + "}"}
	}
	return all
}

func (k keys) index() string                  { return k.prefix + ":i" }
func (k keys) lasting() string                { return k.prefix + ":l" }
func (k keys) unusual() string                { return k.prefix + ":u" }
func (k keys) names() string                  { return k.prefix + ":n" }
func (k keys) rest(ns string) string          { return k.prefix + ":r:" + ns }
func (k keys) array(ns string) string         { return k.prefix + ":a:" + ns }
func (k keys) deadlines(ns string) string     { return k.prefix + ":d:" + ns }
func (k keys) process(point peer.ID) string   { return k.prefix + ":process:" + string(point) }
func (k keys) registrations(p peer.ID) string { return k.prefix + ":p:" + string(p) }

// shardOf returns the number of the shard that holds the registrations of a peer. All
// of them are in one shard, so that one script can enforce the limit per peer. A
// namespace is spread over all shards, however many peers it has.
func shardOf(p peer.ID, shards int) int { return shardOfName(string(p), shards) }

func shardOfName(name string, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % uint32(shards))
}
