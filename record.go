package rendezvous

// Signed peer records: checking those of others.

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// openRecord reads a signed peer record (RFC 0002 and 0003) and verifies all that
// it can say by itself: its signature, in the domain of peer records, by the key
// that the peer ID is of, and its addresses. Whose record was wanted is for the
// caller to compare. Errors match [ErrInvalidPeerInfo].
func openRecord(envelope []byte) (*record.Envelope, *peer.PeerRecord, error) {
	if err := checkEnvelopeSize(envelope); err != nil {
		return nil, nil, err
	}
	signed, opened, err := record.ConsumeEnvelope(envelope, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (%w)", refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record does not verify"), err)
	}
	rec, ok := opened.(*peer.PeerRecord)
	switch {
	case !ok:
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, "envelope holds no peer record")
	case !rec.PeerID.MatchesPublicKey(signed.PublicKey):
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record is another peer's than its key's")
	}
	if err := checkAddrs(rec.Addrs); err != nil {
		return nil, nil, err
	}
	return signed, rec, nil
}

// checkEnvelopeSize is the rule of how long a signed peer record is.
func checkEnvelopeSize(envelope []byte) error {
	switch {
	case len(envelope) == 0:
		return refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record is missing")
	case len(envelope) > maxEnvelopeSize:
		return refuse(pb.Message_E_INVALID_PEER_INFO, fmt.Sprintf("signed peer record is over %d bytes", maxEnvelopeSize))
	}
	return nil
}

// checkAddrs is the rule of which addresses a record has.
func checkAddrs(addrs []ma.Multiaddr) error {
	switch {
	case len(addrs) == 0:
		return refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record has no addresses")
	case addrsSize(addrs) > MaxAddrsSize:
		return refuse(pb.Message_E_INVALID_PEER_INFO, fmt.Sprintf("addresses are over %d bytes", MaxAddrsSize))
	}
	return nil
}

// addrsSize is what addrs take on the wire, in bytes.
func addrsSize(addrs []ma.Multiaddr) int {
	n := 0
	for _, a := range addrs {
		n += len(a.Bytes())
	}
	return n
}
