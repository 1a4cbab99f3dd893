// Package limit has the budgets that bound what remote peers can take from a rendezvous
// point: requests and streams. Registrations are limited by the quota of the storage.
//
// Identities cost nothing, so a limit per peer is not enough. [Requests] also limits all
// peers of an [Origin] together, which is the network that their connections come from.
// [Streams] counts streams per peer only, because the host's
// resource manager limits them in total.
//
// A service calls [Streams.Enter] when a stream is opened, and [Requests.Charge] when it
// has read a request. It calls [Requests.Sweep] every few seconds, which frees the memory
// of full buckets.
//
// All limits are in memory and start unused. Methods may be called by many goroutines at
// the same time. The package starts no goroutine, and callers pass the time.
package limit
