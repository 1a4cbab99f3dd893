package peerrecord

// The form of an envelope. libp2p's parser skips unknown fields, so an envelope could be
// padded with anything, and it recurses into groups, so nested groups would cost stack.
// Only an envelope that has exactly the known fields reaches that parser.

import "google.golang.org/protobuf/encoding/protowire"

// message says which fields a protobuf message has, by number.
type message map[protowire.Number]field

// field says what a field of a message is.
type field struct {
	typ      protowire.Type
	repeated bool
	message  message // nil if the field is no message
}

// Fields of an Envelope (RFC 0002).
const (
	envelopePublicKey   = 1
	envelopePayloadType = 2
	envelopePayload     = 3
	envelopeSignature   = 5
)

var envelopeForm = message{
	envelopePublicKey: {typ: protowire.BytesType, message: message{
		1: {typ: protowire.VarintType}, // Type
		2: {typ: protowire.BytesType},  // Data
	}},
	envelopePayloadType: {typ: protowire.BytesType},
	envelopePayload: {typ: protowire.BytesType, message: message{ // a PeerRecord (RFC 0003)
		1: {typ: protowire.BytesType},  // peer_id
		2: {typ: protowire.VarintType}, // seq
		3: {typ: protowire.BytesType, repeated: true, message: message{ // addresses
			1: {typ: protowire.BytesType}, // multiaddr
		}},
	}},
	envelopeSignature: {typ: protowire.BytesType},
}

// matches reports whether b is a message of this form. It stores the bytes fields in
// parts, unless that is nil. Its recursion is no deeper than the form.
func (m message) matches(b []byte, parts map[protowire.Number][]byte) bool {
	var seen uint64 // bit set of field numbers
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		f, known := m[num]
		if !known || f.typ != typ || !f.repeated && seen&(1<<num) != 0 {
			return false
		}
		seen |= 1 << num
		b = b[n:]
		if typ == protowire.VarintType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return false
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 || f.message != nil && !f.message.matches(value, nil) {
			return false
		}
		if parts != nil {
			parts[num] = value
		}
		b = b[n:]
	}
	return true
}
