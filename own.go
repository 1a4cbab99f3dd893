package rendezvous

// A host's own signed peer record, as it is registered.

import (
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// ownRecord gives a host's signed peer record. Its bytes stay the same until the
// host's addresses change, so that points and peers who know them need not verify
// them again.
type ownRecord struct {
	host host.Host

	mu        sync.Mutex
	sealed    *record.Envelope // the last one sealed here
	sealedFor []ma.Multiaddr
	given     *record.Envelope // the last one given
	bytes     []byte           // given, encoded
}

// envelope returns the record as it goes on the wire, or [ErrNoAddresses]. The
// bytes must not be written to.
func (o *ownRecord) envelope() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	signed := o.hosts()
	if signed == nil {
		var err error
		if signed, err = o.seal(); err != nil {
			return nil, err
		}
	}
	if signed.Equal(o.given) {
		return o.bytes, nil
	}
	bytes, err := signed.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode own peer record: %w", err)
	}
	if len(bytes) > maxEnvelopeSize {
		return nil, fmt.Errorf("own peer record takes %d bytes, %d are allowed: the key or the addresses are too long", len(bytes), maxEnvelopeSize)
	}
	o.given, o.bytes = signed, bytes
	return bytes, nil
}

// hosts returns the record that the host itself keeps, if there is one that the
// wire takes.
func (o *ownRecord) hosts() *record.Envelope {
	book, ok := peerstore.GetCertifiedAddrBook(o.host.Peerstore())
	if !ok {
		return nil
	}
	signed := book.GetPeerRecord(o.host.ID())
	if signed == nil {
		return nil
	}
	opened, err := signed.Record()
	if err != nil {
		return nil
	}
	rec, ok := opened.(*peer.PeerRecord)
	if !ok || len(rec.Addrs) == 0 || addrsSize(rec.Addrs) > MaxAddrsSize {
		return nil
	}
	return signed
}

// seal makes a record of the host's addresses, as many as the wire takes, or
// returns the one that it made when they were the same.
func (o *ownRecord) seal() (*record.Envelope, error) {
	addrs := fitAddrs(o.host.Addrs())
	if len(addrs) == 0 {
		return nil, ErrNoAddresses
	}
	if o.sealed != nil && slices.EqualFunc(addrs, o.sealedFor, ma.Multiaddr.Equal) {
		return o.sealed, nil
	}
	key := o.host.Peerstore().PrivKey(o.host.ID())
	if key == nil {
		return nil, fmt.Errorf("seal own peer record: the host's peerstore has no private key for %s", o.host.ID())
	}
	rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: o.host.ID(), Addrs: addrs})
	signed, err := record.Seal(rec, key)
	if err != nil {
		return nil, fmt.Errorf("seal own peer record: %w", err)
	}
	o.sealed, o.sealedFor = signed, addrs
	return signed, nil
}

// fitAddrs returns addrs from the front, as many as fit into a record.
func fitAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	size := 0
	for i, a := range addrs {
		size += len(a.Bytes())
		if size > MaxAddrsSize {
			return slices.Clone(addrs[:i])
		}
	}
	return slices.Clone(addrs)
}
