// Package limit has the budgets that bound what remote peers can take from a rendezvous
// point: requests, bytes of answers, and concurrent work. Registrations are limited by
// the quota of the storage.
//
// Identities cost nothing, so a limit per peer is not enough. [Budget] also limits all peers
// of an [Origin] together, which is the network that their connections come from.
// [Concurrent] counts what each peer or each origin does at a time. The host's resource
// manager limits streams in total.
//
// Everything has a price, which is known before it is paid: [Request], [Refresh] and
// [RecordCheck] in a budget of requests, and bytes in another one. [Draws] limits the answers
// to DISCOVER, which cost bytes, memory, and places for the large ones. [Recent] says which
// requests are refreshes. The Sweep methods, called every few seconds, free the memory of what
// no longer counts.
//
// All limits are in memory and start unused. Methods may be called by many goroutines at the
// same time. The package starts no goroutine. Callers pass the time, except to what waits.
package limit
