// Package redisstorage is a [rendezvous.Pager] on Redis or Valkey, on a single node or
// a cluster. Many rendezvous points can share one: a peer that registers at one of them
// is discovered at all of them.
//
//	storage, err := redisstorage.Open(ctx, "redis://user:password@localhost:6379/0")
//	if err != nil {
//		return err
//	}
//	defer storage.Close()
//	point := rendezvous.NewRendezvousService(host, storage)
//
// It fulfils the contract of [rendezvous.Pager] with three exceptions:
//
//   - On a cluster, no operation spans two slots. So the points together may exceed
//     [rendezvous.Quota].Total and Bytes by what they add in a quarter of a second. A
//     registration that could not be added may count for its origin until its deadline.
//   - On a cluster, the order of pages is that of the servers' clocks.
//   - A Sample of all namespaces is not exactly uniform while many registrations come
//     and go.
//
// The oldest supported server is Redis 6.2. Its maxmemory-policy should be noeviction.
//
// # How it works
//
// The registry is divided into shards by peer: one shard on a single node, twelve on a
// cluster. Each change of a shard is one Lua script, so it is atomic. A shard holds the fresh
// registrations of a namespace in an array without gaps. A Sample draws random positions
// of these arrays, fetches them all in one round trip, and draws again if too many of
// them have expired: then by the order of deadlines, so it finds only what is live. Every
// point visits every shard four times a second to purge what has expired, and to move what is
// no longer fresh out of the arrays.
//
// Once a point has asked for a page, each shard numbers what is added or replaced by the time in
// microseconds. A page merges the shards by these numbers. A cursor has one for each shard,
// beside a random ID that the shard gets when it begins to number.
package redisstorage
