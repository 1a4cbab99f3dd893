package peerrecord

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/ifaddrs"
)

// ErrNoAddresses: the host has no address that others could use, so there is nothing to
// register yet.
var ErrNoAddresses = errors.New("host has no addresses to register")

// HostRecord makes the signed peer record of a host. Its bytes stay the same until the host's
// addresses change, so that points and peers need not verify them again. It is safe for
// concurrent use.
type HostRecord struct {
	host   host.Host
	choose func([]ma.Multiaddr) []ma.Multiaddr

	created time.Time

	mu       sync.Mutex
	kernel   *kernel
	signed   *record.Envelope // the last one
	envelope []byte           // signed, encoded
	routing  []byte           // signed as one of the kind RoutingState; nil before it is needed
	earlier  []earlierAddrs   // of the records before it
}

// earlierAddrs are the addresses of a record that may still be registered.
type earlierAddrs struct {
	addrs    []ma.Multiaddr
	replaced time.Time
}

// rememberFor is how long points may still have a record that was replaced, or one of an
// earlier process with the host's key: the TTL of a registration, and a little more.
const rememberFor = 30 * time.Second

// NewHostRecord returns the record of h. choose returns the addresses for it; its argument is a
// copy of the addresses that h announces, with those of interfaces that are gone replaced
// by those that the machine has, and it is never called concurrently. If choose
// is nil, the record is the one that h itself has. interfaces returns the addresses of the
// machine's network interfaces; nil is [ifaddrs.Get].
func NewHostRecord(h host.Host, choose func([]ma.Multiaddr) []ma.Multiaddr, interfaces func() ([]net.Addr, error)) *HostRecord {
	if interfaces == nil {
		interfaces = ifaddrs.Get
	}
	return &HostRecord{host: h, choose: choose, created: time.Now(), kernel: newKernel(interfaces)}
}

// Envelope returns the current record, which must not be modified, or [ErrNoAddresses].
func (o *HostRecord) Envelope() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	addrs, moved := o.kernel.correct(o.host.Addrs())
	if o.choose == nil {
		if signed := o.certified(); signed != nil && !moved {
			return o.use(signed)
		}
		return o.seal(Fit(addrs))
	}
	return o.seal(Fit(o.choose(addrs)))
}

// EnvelopeOf returns the current record as one of another kind, which must not be modified, or
// [ErrNoAddresses].
func (o *HostRecord) EnvelopeOf(kind Kind) ([]byte, error) {
	envelope, err := o.Envelope()
	if err != nil || kind == Usual {
		return envelope, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.routing != nil {
		return o.routing, nil
	}
	usual, err := o.signed.Record()
	if err != nil {
		return nil, fmt.Errorf("read own peer record: %w", err)
	}
	rec, ok := usual.(*peer.PeerRecord)
	if !ok {
		return nil, fmt.Errorf("read own peer record: it is a %T", usual)
	}
	signed, err := o.sign(&routingState{*rec})
	if err != nil {
		return nil, err
	}
	o.routing, err = encode(signed)
	return o.routing, err
}

// certified returns the host's own record, if it has one that fits.
func (o *HostRecord) certified() *record.Envelope {
	book, ok := peerstore.GetCertifiedAddrBook(o.host.Peerstore())
	if !ok {
		return nil
	}
	signed := book.GetPeerRecord(o.host.ID())
	if signed == nil || checkAddrs(addrsOf(signed)) != nil {
		return nil
	}
	return signed
}

func addrsOf(signed *record.Envelope) []ma.Multiaddr { return recordIn(signed).Addrs }

// recordIn returns the record in an envelope of the host. It is empty if it cannot be read.
func recordIn(signed *record.Envelope) peer.PeerRecord {
	opened, err := signed.Record()
	if err != nil {
		return peer.PeerRecord{}
	}
	rec, ok := opened.(*peer.PeerRecord)
	if !ok {
		return peer.PeerRecord{}
	}
	return *rec
}

// seal returns a record with these addresses: the last one if it has the same ones in
// any order. The sequence number of a new record is the clock's, as in libp2p's own
// records, so it is higher than those before unless the clock was set back.
func (o *HostRecord) seal(addrs []ma.Multiaddr) ([]byte, error) {
	if len(addrs) == 0 {
		return nil, ErrNoAddresses
	}
	if o.signed != nil && sameAddrs(addrsOf(o.signed), addrs) {
		return o.envelope, nil
	}
	signed, err := o.sign(peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: o.host.ID(), Addrs: addrs}))
	if err != nil {
		return nil, err
	}
	return o.use(signed)
}

func (o *HostRecord) sign(r record.Record) (*record.Envelope, error) {
	key := o.host.Peerstore().PrivKey(o.host.ID())
	if key == nil {
		return nil, fmt.Errorf("seal own peer record: the host's peerstore has no private key for %s", o.host.ID())
	}
	signed, err := record.Seal(r, key)
	if err != nil {
		return nil, fmt.Errorf("seal own peer record: %w", err)
	}
	return signed, nil
}

func sameAddrs(a, b []ma.Multiaddr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, ma.Multiaddr.Compare)
	slices.SortFunc(b, ma.Multiaddr.Compare)
	return slices.EqualFunc(a, b, ma.Multiaddr.Equal)
}

// use makes a record the current one, unless it is already, and returns it encoded.
func (o *HostRecord) use(signed *record.Envelope) ([]byte, error) {
	if signed.Equal(o.signed) {
		return o.envelope, nil
	}
	envelope, err := encode(signed)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	o.earlier = slices.DeleteFunc(o.earlier, func(e earlierAddrs) bool { return now.Sub(e.replaced) > rememberFor })
	if o.signed != nil {
		o.earlier = append(o.earlier, earlierAddrs{addrsOf(o.signed), now})
	}
	o.signed, o.envelope, o.routing = signed, envelope, nil
	return envelope, nil
}

func encode(signed *record.Envelope) ([]byte, error) {
	envelope, err := signed.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode own peer record: %w", err)
	}
	if err := checkSize(envelope); err != nil {
		return nil, fmt.Errorf("own peer record, with its key and addresses: %w", err)
	}
	return envelope, nil
}

// Seq returns the sequence number of the record that [HostRecord.Envelope] returned last, or 0.
func (o *HostRecord) Seq() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.signed == nil {
		return 0
	}
	return recordIn(o.signed).Seq
}

// Foreign reports whether a registered record of the host's peer ID must be from another
// host with the same key: this host does not announce one of its addresses now, and used no
// record with that address within rememberFor.
func (o *HostRecord) Foreign(addrs []ma.Multiaddr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.created) < rememberFor {
		return false // the record may be from before a restart of this host
	}
	mine := o.host.Addrs()
	if o.signed != nil {
		mine = append(slices.Clone(mine), addrsOf(o.signed)...)
	}
	for _, e := range o.earlier {
		if time.Since(e.replaced) <= rememberFor {
			mine = append(mine, e.addrs...)
		}
	}
	return slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool { return !slices.ContainsFunc(mine, a.Equal) })
}
