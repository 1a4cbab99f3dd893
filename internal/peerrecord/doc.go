// Package peerrecord opens, verifies and makes signed peer records (libp2p RFC 0002 and
// 0003): the addresses of a peer in an envelope that the peer has signed.
//
// [Open] verifies an envelope of the usual [Kind], [OpenPaid] one of any kind. [Cache] does
// so once for the same bytes, because peers register the same bytes again and again and
// points hand them out as often. [HostRecord] makes a host's own envelope, whose bytes stay the
// same until its addresses change. [Public] and [Fit] choose addresses.
package peerrecord
