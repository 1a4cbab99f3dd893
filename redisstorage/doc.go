// Package redisstorage keeps the registrations of many rendezvous points in one
// Redis or Valkey, a single node or a cluster. A peer that registers through one
// point is discovered through every other.
//
//	storage, err := redisstorage.Open(ctx, "redis://user:password@localhost:6379/0")
//	if err != nil {
//		return err
//	}
//	defer storage.Close()
//	point := rendezvous.NewRendezvousService(host, storage)
//
// It keeps the contract of [rendezvous.Storage], save that on a cluster, where no
// step spans two slots, the total of [rendezvous.Quota] may be exceeded by what
// the points add within a quarter of a second, and that a Sample of all namespaces is
// uniform over what is there but not when many registrations come and go meanwhile.
//
// Redis 6.2 is the oldest that will do. It should have maxmemory-policy noeviction.
//
// Where things are: open.go (settings, [Open]), shard.go (who is kept where),
// lua/lib.lua (the data and how it hangs together), lua/*.lua (all that changes or
// judges it, in one step each), add.go, sample.go, draw.go, counts.go, keeper.go
// (ends what nobody refreshes).
package redisstorage
