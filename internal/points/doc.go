// Package points knows the rendezvous points that a host can use, and asks them.
//
// A [Point] is one point. Every request that has an answer goes through [Point.RoundTrip] or
// [Point.RoundTrips], which open the stream, bound the request's time, and count how it
// ended: a point that fails is in backoff for a while. [Point.Tell] sends a message that has
// no answer. Nothing else opens a stream to a point, except the probe of a silent
// connection.
//
// A [Set] is all points that the host knows: those that the user named, or else every
// peer that speaks the protocol. Points share nothing with each other, so peers that
// want to find each other must use the same ones. For each namespace, [Rank] puts the
// points into the same order on every peer, and [Set.Ask] asks the first of them, or the
// next where one fails or is slow.
//
// [Sightings] is what the points have said about other peers, until that expires. Each point
// has a bounded share of it. [Set.Listen] says when something has happened on the host that
// calls for a request now, such as a change of its addresses.
//
// The package reads and writes frames and does not know their messages. The caller
// writes the request, reads the answer, and judges what an error means for the point
// ([Config.Judge]).
package points
