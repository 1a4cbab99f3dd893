// Package limit has the budgets of a rendezvous point's callers: how many requests a peer
// and an address may make ([Requests]), how many registrations come from an address
// ([Registrations]), and how many streams of a peer are in service at a time ([Streams]).
//
// A peer can have any number of identities. The address that a connection comes from, its
// [Origin], is what makes them costly.
package limit
