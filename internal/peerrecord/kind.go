package peerrecord

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"google.golang.org/protobuf/encoding/protowire"
)

// Kind is a kind of signed peer record. All kinds have the same fields; the domain of the
// signature and the payload type of the envelope tell them apart.
type Kind uint8

const (
	// Usual is the kind of RFC 0003.
	Usual Kind = iota
	// RoutingState is the kind of rust-libp2p, which uses the names of a draft of that RFC
	// (rust-libp2p issue 6204).
	RoutingState
)

// What envelopes of the kind RoutingState have.
const (
	routingStateDomain = "libp2p-routing-state"
	routingStateType   = "/libp2p/routing-state-record"
)

// KindOf returns the kind that an envelope names, and Usual if it names no known kind. It
// verifies nothing and allocates nothing.
func KindOf(envelope []byte) Kind {
	for len(envelope) > 0 {
		num, typ, n := protowire.ConsumeTag(envelope)
		if n < 0 || typ != protowire.BytesType {
			break
		}
		value, size := protowire.ConsumeBytes(envelope[n:])
		if size < 0 {
			break
		}
		if num == envelopePayloadType {
			if string(value) == routingStateType {
				return RoutingState
			}
			break
		}
		envelope = envelope[n+size:]
	}
	return Usual
}

func (k Kind) payloadType() []byte {
	if k == RoutingState {
		return []byte(routingStateType)
	}
	return peer.PeerRecordEnvelopePayloadType
}

// consume verifies the signature of an envelope of the kind, and parses its record.
func (k Kind) consume(envelope []byte) (*record.Envelope, *peer.PeerRecord, error) {
	if k == RoutingState {
		var r routingState
		signed, err := record.ConsumeTypedEnvelope(envelope, &r)
		return signed, &r.PeerRecord, err
	}
	var r peer.PeerRecord
	signed, err := record.ConsumeTypedEnvelope(envelope, &r)
	return signed, &r, err
}

// routingState is a record of the kind RoutingState.
type routingState struct{ peer.PeerRecord }

func (*routingState) Domain() string { return routingStateDomain }
func (*routingState) Codec() []byte  { return []byte(routingStateType) }
