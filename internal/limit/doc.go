// Package limit has the budgets that bound what remote peers can take from a rendezvous
// point: requests, streams, and the registrations from one address.
//
// Identities cost nothing, so a limit per peer is not enough. [Requests] and
// [Registrations] also limit all peers of an [Origin] together, which is the network that
// their connections come from. [Streams] counts streams per peer only, because the host's
// resource manager limits them in total.
//
// A service calls [Streams.Enter] when a stream is opened, [Requests.Charge] when it has
// read a request, and [Registrations.Reserve] before it stores a registration. It calls
// the Sweep methods every few seconds, which free the memory of what no longer counts.
//
// All limits are in memory and start unused. Methods may be called by many goroutines at
// the same time. The package starts no goroutine, and callers pass the time.
package limit
