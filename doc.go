// Package rendezvous lets libp2p peers that know one address find each other.
//
// A rendezvous point keeps, for 20 seconds at a time, who is alive in which
// namespace. Peers register their signed peer record there, again and again, and
// discover a random sample of the others. docs/protocol.md specifies the wire
// format.
//
// # For gossipsub
//
//	disc := rendezvous.NewRendezvousDiscovery(h, rendezvous.WithPoints(point))
//	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDiscovery(disc))
//
// # For other programs
//
// [NewClient] returns a [Client]. [Client.KeepRegistered] keeps its host registered,
// [Client.Watch] reports who joins a namespace and who leaves it. Both use the points
// that all other peers of the namespace use. [Client.Register] and [Client.Discover]
// send one request to one point.
//
// # A point
//
//	service := rendezvous.NewRendezvousService(h, rendezvous.NewMemoryStorage())
//	err := service.Start()
//
// With [WithStandardProtocol] it serves libp2p's own protocol as well, [StandardID], from
// the same registrations.
//
// A point keeps its registrations in a [Storage]: [NewMemoryStorage], or [NewStorage]
// for memory with a database behind it, such as the one that [OpenLevelDB] opens.
// Package redisstorage has a storage that many points share. Package storagetest
// tests any storage.
package rendezvous
