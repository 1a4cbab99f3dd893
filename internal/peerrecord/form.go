package peerrecord

// The form of an envelope. libp2p's parser skips unknown fields, so an envelope could be
// padded with anything, and it recurses into groups, so nested groups would cost stack.
// Only an envelope that has exactly the known fields reaches that parser.

import (
	"bytes"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
)

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

// checkForm checks that an envelope has the fields of a signed peer record and no others,
// that it is of a kind, and that its key is the owner's, if there is one. It returns the key.
func checkForm(envelope []byte, owner peer.ID, kind Kind) (crypto.PubKey, error) {
	parts := make(map[protowire.Number][]byte, len(envelopeForm))
	if !envelopeForm.matches(envelope, parts) {
		return nil, invalid("signed peer record is malformed")
	}
	if !bytes.Equal(parts[envelopePayloadType], kind.payloadType()) {
		return nil, invalid("envelope has no peer record")
	}
	key, err := crypto.UnmarshalPublicKey(parts[envelopePublicKey])
	if err != nil {
		return nil, &InvalidError{"signed peer record has an invalid key", err}
	}
	if owner != "" && !owner.MatchesPublicKey(key) {
		return nil, invalid("signed peer record is not the sender's")
	}
	return key, nil
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
