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
	switch {
	case len(envelope) == 0:
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record is missing")
	case len(envelope) > maxEnvelopeSize:
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, fmt.Sprintf("signed peer record is over %d bytes", maxEnvelopeSize))
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
	case len(rec.Addrs) == 0:
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, "signed peer record has no addresses")
	case addrsSize(rec.Addrs) > MaxAddrsSize:
		return nil, nil, refuse(pb.Message_E_INVALID_PEER_INFO, fmt.Sprintf("addresses are over %d bytes", MaxAddrsSize))
	}
	return signed, rec, nil
}

// addrsSize is what addrs take on the wire, in bytes.
func addrsSize(addrs []ma.Multiaddr) int {
	n := 0
	for _, a := range addrs {
		n += len(a.Bytes())
	}
	return n
}
