package rendezvous

// What a point gives to one peer and to one address: requests per second, and
// registrations. And what the host's resource manager has to give to the point.

import (
	"errors"
	"hash/maphash"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Limits adds to config what a point needs of its host's resource manager:
//
//	limits := rcmgr.DefaultLimits
//	libp2p.SetDefaultServiceLimits(&limits)
//	rendezvous.Limits(&limits)
//	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()))
//	…
//	h, err := libp2p.New(libp2p.ResourceManager(manager))
//
// Without it a host has libp2p's defaults for a protocol that it knows nothing
// of: a few hundred streams in, for all peers together, which is soon too few for
// a point and never for a peer that only asks one.
//
// It sets limits for the protocol, the service, and one peer's part of either, and
// adds the point's part to those of the whole host and to those of streams that are
// still being negotiated: call it once for each config. The limits on connections
// stay as they are; a busy point wants more of them in config.SystemBaseLimit and
// config.SystemLimitIncrease.
func Limits(config *rcmgr.ScalingLimitConfig) {
	// All peers: streams are short, so these are thousands of requests per second.
	// The memory is what the streams of a flood reserve, which is more than they use.
	all := rcmgr.BaseLimit{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	increase := rcmgr.BaseLimitIncrease{StreamsInbound: 4096, StreamsOutbound: 1024, Streams: 5120, Memory: 128 << 20}
	config.AddServiceLimit(ServiceName, all, increase)
	config.AddProtocolLimit(RendezvousID_v001, all, increase)
	addStreams(&config.SystemBaseLimit, all)
	addStreams(&config.TransientBaseLimit, all)
	addIncrease(&config.SystemLimitIncrease, increase)
	addIncrease(&config.TransientLimitIncrease, increase)

	// One peer: a request of its default burst each, whatever the size of the machine.
	one := rcmgr.BaseLimit{StreamsInbound: defaultBurst, StreamsOutbound: defaultBurst, Streams: 2 * defaultBurst, Memory: 16 << 20}
	config.AddServicePeerLimit(ServiceName, one, rcmgr.BaseLimitIncrease{})
	config.AddProtocolPeerLimit(RendezvousID_v001, one, rcmgr.BaseLimitIncrease{})
}

func addStreams(to *rcmgr.BaseLimit, more rcmgr.BaseLimit) {
	to.Streams += more.Streams
	to.StreamsInbound += more.StreamsInbound
	to.StreamsOutbound += more.StreamsOutbound
	to.Memory += more.Memory
}

func addIncrease(to *rcmgr.BaseLimitIncrease, more rcmgr.BaseLimitIncrease) {
	to.Streams += more.Streams
	to.StreamsInbound += more.StreamsInbound
	to.StreamsOutbound += more.StreamsOutbound
	to.Memory += more.Memory
}

// caller is who a stream comes from, as its connection says.
type caller struct {
	peer peer.ID
	addr ma.Multiaddr
	// subnet is where addr is, and located whether that counts against limits.
	subnet  subnet
	located bool
}

func callerOf(c network.Conn) caller {
	addr := c.RemoteMultiaddr()
	at, located := subnetOf(addr)
	return caller{peer: c.RemotePeer(), addr: addr, subnet: at, located: located}
}

// subnet is an IPv4 address (/32), or the network part of an IPv6 one (/64): what
// one customer of a provider has at least. No two that are routed are the same number.
type subnet uint64

// subnetOf returns the subnet that a connection comes from. A relayed connection
// comes from its relay. Loopback is nowhere, as in go-libp2p's own limiter of
// connections: whoever is there could stop the point just as well. So is what has
// no IP address.
func subnetOf(addr ma.Multiaddr) (at subnet, located bool) {
	raw, err := manet.ToIP(addr)
	if err != nil {
		return 0, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return 0, false
	}
	ip = ip.Unmap()
	if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err != nil && ip.IsLoopback() {
		return 0, false
	}
	network := ip.AsSlice()
	for _, b := range network[:min(8, len(network))] {
		at = at<<8 | subnet(b)
	}
	return at, true
}

// verdict is what becomes of a request.
type verdict int

const (
	serve   verdict = iota
	decline         // answer that there were too many
	drop            // end the stream
)

// requestLimit limits requests, per peer and per subnet. One peer's share of its
// subnet is a twentieth, so that a thousand identities behind one address get what
// twenty peers do.
type requestLimit struct {
	peers   bucketTable[peer.ID]
	subnets bucketTable[subnet]
}

const peersPerSubnet = 20

func newRequestLimit(perSecond float64, burst int) *requestLimit {
	return &requestLimit{
		peers:   newBucketTable[peer.ID](perSecond, burst),
		subnets: newBucketTable[subnet](perSecond*peersPerSubnet, burst*peersPerSubnet),
	}
}

// spent tells whether the caller's next request would be dropped. It costs the caller nothing.
func (l *requestLimit) spent(c *caller, now time.Time) bool {
	return l.peers.spent(c.peer, now) || c.located && l.subnets.spent(c.subnet, now)
}

// take charges the caller for a request.
func (l *requestLimit) take(c *caller, now time.Time) verdict {
	v := l.peers.take(c.peer, now)
	if c.located && v != drop {
		v = max(v, l.subnets.take(c.subnet, now))
	}
	return v
}

func (l *requestLimit) sweep(now time.Time) {
	l.peers.sweep(now)
	l.subnets.sweep(now)
}

// maxBuckets bounds a table's memory, to about 10 MiB. Beyond it, one bucket is
// forgotten for each new one: to a peer with so many identities or addresses, the
// debt of one is no loss.
const maxBuckets = 1 << 16

// bucketTable is a token bucket for each key. A bucket is kept as the time at which
// it will be full again, and one that is full is not kept at all.
//
// A request that finds its bucket empty is declined and costs a quarter of one,
// which puts the bucket into debt: who goes a little over the rate still gets the
// rate, who sends four times of it gets nothing, and whose debt is another bucket
// is not heard until some of it is paid.
type bucketTable[K comparable] struct {
	cost time.Duration // in which a bucket gains what one request takes; 0: no limit
	size time.Duration // in which an empty bucket fills

	mu     sync.Mutex
	fullAt map[K]time.Time
	peak   int // most entries since fullAt was made
}

func newBucketTable[K comparable](perSecond float64, burst int) bucketTable[K] {
	if perSecond == 0 {
		return bucketTable[K]{}
	}
	cost := max(1, time.Duration(float64(time.Second)/perSecond))
	return bucketTable[K]{cost: cost, size: cost * time.Duration(burst), fullAt: make(map[K]time.Time)}
}

func (t *bucketTable[K]) spent(k K, now time.Time) bool {
	if t.cost == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fullAt[k].Sub(now) >= 2*t.size
}

func (t *bucketTable[K]) take(k K, now time.Time) verdict {
	if t.cost == 0 {
		return serve
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	missing := max(0, t.fullAt[k].Sub(now))
	v := serve
	switch {
	case missing+t.cost <= t.size:
		missing += t.cost
	case missing < 2*t.size:
		missing += t.cost / 4
		v = decline
	default:
		return drop
	}
	if _, known := t.fullAt[k]; !known && len(t.fullAt) >= maxBuckets {
		for one := range t.fullAt {
			delete(t.fullAt, one)
			break
		}
	}
	t.fullAt[k] = now.Add(missing)
	t.peak = max(t.peak, len(t.fullAt))
	return v
}

// sweep gives back what full buckets take.
func (t *bucketTable[K]) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.fullAt, func(_ K, at time.Time) bool { return !now.Before(at) })
	t.fullAt, t.peak = shrink(t.fullAt, t.peak)
}

// errIPLimit: the subnet that a peer comes from has all the registrations it may.
var errIPLimit = errors.New("subnet is at its registration limit")

// subnetLedger counts live registrations per subnet, and knows for each which subnet it
// counts against. It takes about 50 bytes for each, and gives them back when the
// registration has ended.
type subnetLedger struct {
	limit int // per subnet; 0: none, and nothing is kept
	seed  maphash.Seed
	epoch time.Time

	mu    sync.Mutex
	held  map[uint64]holding // by the hash of namespace and peer
	count map[subnet]int
	due   map[tick][]uint64 // each of held under its holding's queued
	last  tick              // all up to here were taken from due
	peak  int               // most entries since held was made
}

// holding is one registration in a ledger.
type holding struct {
	subnet subnet
	ends   tick
	queued tick // when to see whether it has ended; not after ends
}

// tick is a time in tenths of a second from a ledger's epoch.
type tick uint32

const tickLength = 100 * time.Millisecond

func newSubnetLedger(limit int, now time.Time) *subnetLedger {
	return &subnetLedger{
		limit: limit,
		seed:  maphash.MakeSeed(),
		epoch: now,
		held:  make(map[uint64]holding),
		count: make(map[subnet]int),
		due:   make(map[tick][]uint64),
	}
}

// key is what a registration goes by in the ledger. No peer can know the seed, so
// none can make two of them collide.
func (l *subnetLedger) key(ns string, p peer.ID) uint64 {
	return maphash.Comparable(l.seed, struct {
		ns   string
		peer peer.ID
	}{ns, p})
}

// ticks is t in ticks, rounded up.
func (l *subnetLedger) ticks(t time.Time) tick {
	return tick((t.Sub(l.epoch) + tickLength - 1) / tickLength)
}

// reserve counts a registration that is about to be made, so that no two can take
// a subnet's last place. One that lives already is not counted again and never
// refused. What comes of it is told by keep or, where it is fresh, by release.
func (l *subnetLedger) reserve(c *caller, key uint64, until, now time.Time) (fresh bool, err error) {
	if l.limit == 0 || !c.located {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if _, lives := l.held[key]; lives {
		return false, nil
	}
	if l.count[c.subnet] >= l.limit {
		return false, errIPLimit
	}
	l.add(c.subnet, key, l.ticks(until))
	return true, nil
}

// keep records that a registration was made, and until when it lives. It counts
// against the subnet that it was last made from, if there is room.
func (l *subnetLedger) keep(c *caller, key uint64, until time.Time) {
	if l.limit == 0 || !c.located {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h, lives := l.held[key]
	if !lives { // it was refreshed while it ended
		l.add(c.subnet, key, l.ticks(until))
		return
	}
	if h.subnet != c.subnet && l.count[c.subnet] < l.limit {
		l.uncount(h.subnet)
		l.count[c.subnet]++
		h.subnet = c.subnet
	}
	h.ends = l.ticks(until)
	if h.ends < h.queued { // it was shortened
		l.queue(key, h)
		return
	}
	l.held[key] = h
}

// release forgets a fresh registration that was not made.
func (l *subnetLedger) release(key uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(key)
}

func (l *subnetLedger) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	l.held, l.peak = shrink(l.held, l.peak)
}

// expire forgets what has ended by now. Its cost is that of what ended or was
// refreshed since the last time. l.mu is held.
func (l *subnetLedger) expire(now time.Time) {
	for upTo := tick(now.Sub(l.epoch) / tickLength); l.last < upTo; {
		l.last++
		for _, key := range l.due[l.last] {
			h, ok := l.held[key]
			switch {
			case !ok || h.queued != l.last: // released, or queued anew since
			case h.ends > l.last:
				l.queue(key, h)
			default:
				l.remove(key)
			}
		}
		delete(l.due, l.last)
	}
}

// add counts a registration. l.mu is held, and so it is for those below.
func (l *subnetLedger) add(at subnet, key uint64, ends tick) {
	l.queue(key, holding{subnet: at, ends: max(ends, l.last+1)})
	l.count[at]++
	l.peak = max(l.peak, len(l.held))
}

// queue has a holding looked at when it should end.
func (l *subnetLedger) queue(key uint64, h holding) {
	h.queued = h.ends
	l.held[key] = h
	l.due[h.queued] = append(l.due[h.queued], key)
}

func (l *subnetLedger) remove(key uint64) {
	if h, ok := l.held[key]; ok {
		delete(l.held, key)
		l.uncount(h.subnet)
	}
}

func (l *subnetLedger) uncount(at subnet) {
	if l.count[at]--; l.count[at] <= 0 {
		delete(l.count, at)
	}
}
