package rendezvous

// A host's own signed peer record, as it is registered: which addresses are in it,
// and when it is made anew.

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// AddrsFactory chooses which of a host's addresses are registered. It is given
// those that the host announces, gets a slice of its own, and may return others.
// It is called before each registration, once at a time, and must not call the client.
type AddrsFactory = func([]ma.Multiaddr) []ma.Multiaddr

// WithAddrsFactory sets which addresses are registered: [AllAddrs], [PublicAddrs], or a
// choice of one's own. The default is the host's own record, as identify sends it, which
// has all of them, too. It decides about registrations only: peers learn a host's
// addresses from identify, too, once they are connected.
func WithAddrsFactory(f AddrsFactory) ClientOption {
	return func(c *clientConfig) error {
		if f == nil {
			return errors.New("addresses factory is nil")
		}
		c.addrs = f
		return nil
	}
}

// AllAddrs registers every address that the host announces.
func AllAddrs(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }

// PublicAddrs registers the addresses that can be reached from anywhere: public
// ones, DNS names among them, and those through a relay. While a host has none it
// is not registered, and [ErrNoAddresses] says so.
func PublicAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool { return reach(a) > relayed })
}

// How far an address can be reached from, the farthest first.
const (
	public = iota
	relayed
	private
	loopback
)

func reach(a ma.Multiaddr) int {
	switch {
	case slices.ContainsFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT }):
		return relayed
	case manet.IsPublicAddr(a):
		return public
	case manet.IsIPLoopback(a):
		return loopback
	default:
		return private
	}
}

// fitAddrs returns those of addrs that the wire takes, without repeats, those first
// that most others can reach.
func fitAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return reach(a) - reach(b) })
	room, taken := MaxAddrsSize, make(map[string]struct{}, len(addrs))
	return slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool {
		size := len(a.Bytes())
		_, twice := taken[string(a.Bytes())]
		if size == 0 || size > room || twice {
			return true
		}
		room -= size
		taken[string(a.Bytes())] = struct{}{}
		return false
	})
}

// ownRecord gives a host's signed peer record. Its bytes stay the same until the
// host's addresses change, so that points and peers who know them need not verify
// them again.
type ownRecord struct {
	host  host.Host
	addrs AddrsFactory // nil: as the host's own record has them

	mu    sync.Mutex
	given *record.Envelope // the last one given
	bytes []byte           // given, encoded
}

// envelope returns the record as it goes on the wire, or [ErrNoAddresses]. The
// bytes must not be written to.
func (o *ownRecord) envelope() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addrs == nil {
		if signed := o.hosts(); signed != nil {
			return o.give(signed)
		}
	}
	addrs := o.host.Addrs()
	if o.addrs != nil {
		addrs = o.addrs(slices.Clone(addrs))
	}
	return o.seal(fitAddrs(addrs))
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
	if checkAddrs(signedAddrs(signed)) != nil {
		return nil
	}
	return signed
}

func signedAddrs(signed *record.Envelope) []ma.Multiaddr {
	opened, err := signed.Record()
	if err != nil {
		return nil
	}
	rec, ok := opened.(*peer.PeerRecord)
	if !ok {
		return nil
	}
	return rec.Addrs
}

// seal returns a record of these addresses, the last one given where they are the
// same in whatever order. A new one's sequence number is that of the clock, as
// libp2p's own are, and so higher than that of any before.
func (o *ownRecord) seal(addrs []ma.Multiaddr) ([]byte, error) {
	if len(addrs) == 0 {
		return nil, ErrNoAddresses
	}
	if o.given != nil && sameAddrs(signedAddrs(o.given), addrs) {
		return o.bytes, nil
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
	return o.give(signed)
}

func sameAddrs(a, b []ma.Multiaddr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, ma.Multiaddr.Compare)
	slices.SortFunc(b, ma.Multiaddr.Compare)
	return slices.EqualFunc(a, b, ma.Multiaddr.Equal)
}

// give encodes a record, unless it is the last one given.
func (o *ownRecord) give(signed *record.Envelope) ([]byte, error) {
	if signed.Equal(o.given) {
		return o.bytes, nil
	}
	bytes, err := signed.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode own peer record: %w", err)
	}
	if err := checkEnvelopeSize(bytes); err != nil {
		return nil, fmt.Errorf("own peer record, with its key and addresses: %w", err)
	}
	o.given, o.bytes = signed, bytes
	return bytes, nil
}
