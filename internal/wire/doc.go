// Package wire reads and writes the messages of rendezvous protocols.
//
// A peer opens a stream to a rendezvous point and sends requests. The point answers
// them in order, each before it reads the next:
//
//	peer                                         point
//	REGISTER namespace, record, TTL     ──▶
//	                                    ◀──      REGISTER_RESPONSE status, granted TTL
//	DISCOVER namespace, limit           ──▶
//	                                    ◀──      DISCOVER_RESPONSE status, registrations
//
// A frame is the length of a message, as an unsigned varint, and the message, in
// protobuf. A message has a type and one part, which is a message itself. Protocols
// have the same messages with other numbers for types and fields: a [Dialect] is the
// table of one protocol's numbers and limits, and all code here works by that table.
//
// Messages are read and written by hand. Generated code needs a larger stack than the
// goroutine of a new stream has, and growing it was half of what a repeated REGISTER
// cost beyond the stream; it also allocates three times for each registration in an
// answer. Here, parsing allocates nothing: what it returns are parts of the frame.
//
// Nothing is verified here: namespaces may be too long and records forged.
package wire
