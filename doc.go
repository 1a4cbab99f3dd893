// Package rendezvous lets libp2p peers that know one address find each other.
//
// A rendezvous point keeps, for 20 seconds at a time, who is alive in which
// namespace. Peers register their signed peer record there, again and again, and
// discover a random sample of the others.
package rendezvous
