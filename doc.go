// Package rendezvous lets libp2p peers that know one address find each other.
//
// A rendezvous point keeps, for 20 seconds at a time, who is alive in which
// namespace. Peers register their signed peer record there, again and again, and
// discover a random sample of the others. docs/protocol.md has what goes over the
// wire.
//
// # For gossipsub
//
//	disc := rendezvous.NewRendezvousDiscovery(h, rendezvous.WithPoints(point))
//	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(disc))
//
// # For other programs
//
// [NewClient] returns a [Client]: [Client.KeepRegistered] keeps its host registered
// and [Client.Watch] tells who joins a namespace and who leaves it, at the points that
// everyone else asks, too; [Client.Register] and [Client.Discover] are one request to
// one point.
//
// # A point
//
//	service := rendezvous.NewRendezvousService(h, rendezvous.NewMemoryStorage())
//	err := service.Start()
//
// A [Storage] is where a point keeps its registrations: [NewMemoryStorage], or
// [NewStorage] for memory with a database behind, such as [OpenLevelDB] opens. Package
// redisstorage has one for many points, and package storagetest what any must pass.
//
// # The files
//
// protocol.go, messages.go and record.go are the wire; service.go, stream.go, requests.go,
// options.go, rate.go, ledger.go, limits.go and authorize.go the point; storage.go, memory.go and durable.go
// where it keeps things; client.go one request, points.go whom to ask, ask.go how, keep.go, watch.go
// and discovery.go what is made of it. docs/architecture.md has all of them, and follows
// a request through them.
package rendezvous
