package peerrecord

import (
	"bytes"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
)

// MaxSize is the size of the longest envelope, in bytes.
const MaxSize = 8 << 10

// Record is a verified signed peer record. It must not be modified.
type Record struct {
	ID       peer.ID
	Addrs    []ma.Multiaddr // at least one
	Seq      uint64
	Envelope []byte
}

// Open verifies an envelope of the usual kind: its size, its form, its signature in the
// domain of peer records, and the addresses in it. The record must be the one of owner,
// which is checked before the signature; the owner "" stands for any peer. The error is an
// [*InvalidError]. The record has a copy of the envelope.
func Open(envelope []byte, owner peer.ID) (*Record, error) {
	return OpenPaid(envelope, owner, Usual, nil)
}

// OpenPaid is Open for an envelope of any kind, for somebody who is charged for the check of
// the signature. Unless pay is nil, OpenPaid calls it with the key right before that check. If pay returns an error, OpenPaid returns it unchanged and does not check the
// signature.
func OpenPaid(envelope []byte, owner peer.ID, kind Kind, pay func(crypto.PubKey) error) (*Record, error) {
	if err := checkSize(envelope); err != nil {
		return nil, err
	}
	key, err := checkForm(envelope, owner, kind)
	if err != nil {
		return nil, err
	}
	if pay != nil {
		if err := pay(key); err != nil {
			return nil, err
		}
	}
	signed, rec, err := kind.consume(envelope)
	if err != nil {
		return nil, &InvalidError{"signed peer record does not verify", err}
	}
	if !rec.PeerID.MatchesPublicKey(signed.PublicKey) {
		return nil, invalid("signed peer record names another peer than its signer")
	}
	if err := checkAddrs(rec.Addrs); err != nil {
		return nil, err
	}
	return &Record{ID: rec.PeerID, Addrs: rec.Addrs, Seq: rec.Seq, Envelope: bytes.Clone(envelope)}, nil
}

func checkSize(envelope []byte) error {
	switch {
	case len(envelope) == 0:
		return invalid("signed peer record is missing")
	case len(envelope) > MaxSize:
		return invalid(fmt.Sprintf("signed peer record is over %d bytes", MaxSize))
	}
	return nil
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
