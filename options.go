package rendezvous

// The options of a rendezvous point and of a client.

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/status-im/go-waku-rendezvous/internal/collectors"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// ServiceOption configures a [RendezvousService]. Each option names its default. If an
// option is given twice, the last counts, except that [WithStandardID] adds an ID. A bad value is
// an error also if a good one follows.
type ServiceOption func(*serviceConfig) error

const (
	defaultRate  = 50  // requests per second
	defaultBurst = 100 // requests

	defaultEgress      = 1 << 20 // bytes per second
	defaultEgressBurst = 8 << 20 // bytes
)

type serviceConfig struct {
	quota         Quota
	rate          float64
	burst         int
	egress        int // bytes per second
	egressBurst   int // bytes
	ttl, maxTTL   time.Duration
	discoverLimit int
	standard      standardConfig
	authorize     Authorizer
	metrics       MetricsTracer
}

func defaultServiceConfig() serviceConfig {
	return serviceConfig{
		quota:         Quota{PerPeer: 1000, PerOrigin: 1000, Total: 1_000_000, Bytes: 1 << 30},
		rate:          defaultRate,
		burst:         defaultBurst,
		egress:        defaultEgress,
		egressBurst:   defaultEgressBurst,
		ttl:           DefaultTTL,
		maxTTL:        MaxTTL,
		discoverLimit: MaxDiscoverLimit,
		metrics:       noMetrics{},
	}
}

// WithRateLimit limits the requests of each peer to perSecond in the long run and to
// burst at once. 0, 0 is no limit. The default is 50 and 100: a node with ten topics
// sends ten requests when it starts, and fewer than twenty a second while it searches
// for peers in all of them.
//
// A request costs a token. The check of a record's signature costs another one for an
// Ed25519 key, and more for keys that take longer, or if the record is over 512 bytes. A refresh,
// which is the same record for a live registration, costs a quarter token if it is due, so a peer
// can keep 1000 registrations alive. It is due if it extends the registration by at least a quarter of the
// TTL; the quarter counts as 1 second if it is shorter, and as 5 if it is longer. At a point
// with [WithStandardProtocol], a second must also have passed since the last refresh. An
// earlier refresh costs a token, and one that shortens the registration costs three. A
// request over the rate is answered E_UNAVAILABLE, before anything else is checked. A
// declined request costs a quarter token; a full bucket of debt closes the stream.
//
// All peers of one address, as [WithMaxRegistrationsPerIP] defines it, share 20 times a
// peer's rate and burst, because a peer can have any number of identities. Those of an
// IPv6 /56 share four times as much as a /64, and those of a /48 sixteen times. A refresh
// that is due is charged to its peer only, so nobody else at its address can prevent it.
//
// burst is at least 1, and an empty bucket must fill within an hour, because the point
// remembers the peer until then.
func WithRateLimit(perSecond float64, burst int) ServiceOption {
	return func(c *serviceConfig) error {
		switch none := perSecond == 0 && burst == 0; {
		case none:
		case math.IsNaN(perSecond), math.IsInf(perSecond, 0), perSecond <= 0, burst < 1:
			return fmt.Errorf("rate limit of %v requests per second and a burst of %d: both must be over 0, or both 0", perSecond, burst)
		case float64(burst)/perSecond > time.Hour.Seconds():
			return fmt.Errorf("rate limit of %v requests per second and a burst of %d: the bucket must fill within an hour", perSecond, burst)
		}
		c.rate, c.burst = perSecond, burst
		return nil
	}
}

// WithEgressLimit limits the bytes of answers to DISCOVER of each peer, to bytesPerSecond
// in the long run and to burst at once. 0, 0 is no limit. The default is 1 MiB per second
// and 8 MiB: a node that searches in ten topics at once, each second for 50 peers with
// records of 300 bytes, gets 150 KiB per second, and the longest answer has 4 MiB. All
// peers of one address share 20 times as much, and IPv6 networks more; see
// [WithRateLimit].
//
// A request is charged before it is carried out, with its limit times 300 bytes, which is
// the size of a registration of most hosts. It is charged for a longer answer before that is
// written, and the excess is given back once the peer has its answer. A request that the
// budget does not cover is answered E_UNAVAILABLE, so the largest requests are declined
// first. An empty bucket must fill within an hour.
func WithEgressLimit(bytesPerSecond, burst int) ServiceOption {
	return func(c *serviceConfig) error {
		switch none := bytesPerSecond == 0 && burst == 0; {
		case none:
		case bytesPerSecond < 1, burst < 1:
			return fmt.Errorf("limit of %d bytes of answers per second and a burst of %d: both must be over 0, or both 0", bytesPerSecond, burst)
		case float64(burst)/float64(bytesPerSecond) > time.Hour.Seconds():
			return fmt.Errorf("limit of %d bytes of answers per second and a burst of %d: the bucket must fill within an hour", bytesPerSecond, burst)
		}
		c.egress, c.egressBurst = bytesPerSecond, burst
		return nil
	}
}

// WithMaxRegistrationsPerPeer limits the live registrations of one peer, over all
// namespaces. More are answered E_NOT_AUTHORIZED. 0 is no limit. The default is 1000:
// more topics than a node has, and a thousandth of a full point.
func WithMaxRegistrationsPerPeer(n int) ServiceOption {
	return setLimit("registrations per peer", n, func(c *serviceConfig) { c.quota.PerPeer = n })
}

// WithMaxRegistrations limits the live registrations of the point's storage. More are
// answered E_UNAVAILABLE. 0 is no limit. The default is 1,000,000, which takes less than
// a gigabyte with the records that most hosts have.
func WithMaxRegistrations(n int) ServiceOption {
	return setLimit("registrations", n, func(c *serviceConfig) { c.quota.Total = n })
}

// WithMaxRegistrationBytes limits the size of the live registrations of the point's
// storage: of the namespace, the peer ID and the signed peer record of each, in bytes. More
// are answered E_UNAVAILABLE. A refresh is refused only if its record has grown beyond the
// average, which is this limit divided by that of [WithMaxRegistrations], and there is no
// room for the growth. So a storage holds at most twice this limit. 0 is no limit. The
// default is 1 GiB: with the records that most hosts have, of 200 to 400 bytes,
// [WithMaxRegistrations] is reached first, but a record may have 8 KiB.
func WithMaxRegistrationBytes(n int64) ServiceOption {
	return setLimit("bytes of registrations", n, func(c *serviceConfig) { c.quota.Bytes = n })
}

// WithMaxRegistrationsPerIP limits the live registrations of one IPv4 address (/32) or
// IPv6 network (/64), as seen on the connection, so that a thousand identities on one
// machine cannot fill a namespace. Because a customer of a provider may have many
// networks, an IPv6 /56 may have 4 times and a /48 16 times as many. Registrations over
// a relayed connection count against the relay. Loopback is exempt, as in go-libp2p's
// limiter of connections, and so is a connection without an IP address. More
// registrations are answered E_UNAVAILABLE and not E_NOT_AUTHORIZED, because others may
// have used up the limit and may leave.
//
// 0 is no limit. The default is 1000, the same as for one peer. Raise it where many
// peers share an address. The storage counts registrations, so points that share a
// storage share this limit.
func WithMaxRegistrationsPerIP(n int) ServiceOption {
	return setLimit("registrations per IP", n, func(c *serviceConfig) { c.quota.PerOrigin = n })
}

// longestTTL is the highest maximum that WithTTL accepts.
const longestTTL = 24 * time.Hour

// WithTTL sets the TTL of registrations that do not ask for one, and the longest that one
// may ask for. A longer one is answered E_INVALID_TTL. Clients of this library ask for 20
// seconds, so a lower maximum refuses them. Both are whole seconds. def is no longer than
// most, and most no longer than 24 hours. A most of 0 stands for the protocol's 20 seconds,
// and a def of 0 for 20 seconds or most, whichever is shorter. Both are 20 seconds by
// default. A peer that is gone may be found until its TTL has passed.
func WithTTL(def, most time.Duration) ServiceOption {
	if most == 0 {
		most = MaxTTL
	}
	if def == 0 {
		def = min(DefaultTTL, most)
	}
	return func(c *serviceConfig) error {
		if err := checkTTLs(def, most, longestTTL); err != nil {
			return err
		}
		c.ttl, c.maxTTL = def, most
		return nil
	}
}

// checkTTLs checks the TTLs of a protocol, which may be longest at most.
func checkTTLs(def, most, longest time.Duration) error {
	if def < time.Second || def > most || most > longest || def%time.Second != 0 || most%time.Second != 0 {
		return fmt.Errorf("TTL of %v by default and %v at most: both must be whole seconds from 1s to %v, and the first no longer than the second", def, most, longest)
	}
	return nil
}

// standardConfig says how a point serves the standard protocol. The zero value means that it
// does not.
type standardConfig struct {
	ttl, maxTTL time.Duration
	further     []protocol.ID // beside StandardID
}

// isServed reports whether the point serves the standard protocol.
func (c *standardConfig) isServed() bool { return c.maxTTL != 0 }

// check returns an error if there are further IDs of a protocol that is not served.
func (c *standardConfig) check() error {
	if len(c.further) > 0 && !c.isServed() {
		return fmt.Errorf("further ID %q of the standard protocol, which is not served: WithStandardProtocol is missing", c.further[0])
	}
	return nil
}

// served returns the dialect that the point serves under each protocol ID.
func (c *serviceConfig) served() map[protocol.ID]*wire.Dialect {
	served := map[protocol.ID]*wire.Dialect{RendezvousID_v001: wire.Waku}
	if c.standard.isServed() {
		served[StandardID] = wire.Standard
		for _, id := range c.standard.further {
			served[id] = wire.Standard
		}
	}
	return served
}

// WithStandardProtocol makes the point serve [StandardID] as well, libp2p's own rendezvous
// protocol, from the same registrations and within the same limits. The storage must be a
// [Pager]. The default is not to serve it.
//
// def is the TTL of registrations that do not ask for one, and most is the longest TTL; a
// request for a longer one is answered E_INVALID_TTL. Both are whole seconds. def is no
// longer than most, and most no longer than 72 hours. A most of 0 stands for 72 hours, and a
// def of 0 for 2 hours or most, whichever is shorter.
//
// DISCOVER of [RendezvousID_v001] finds a registration that was made over the standard
// protocol for 20 seconds, and as long as its peer is connected to the point; any connection
// of the peer counts. To libp2p, a peer that vanishes without a word is connected for about
// half a minute more. Registrations for more than 20 seconds may take half of
// [WithMaxRegistrations] and half of [WithMaxRegistrationBytes]. If there is no room for a
// registration for longer, the point grants 20 seconds.
func WithStandardProtocol(def, most time.Duration) ServiceOption {
	if most == 0 {
		most = MaxStandardTTL
	}
	if def == 0 {
		def = min(DefaultStandardTTL, most)
	}
	return func(c *serviceConfig) error {
		if err := checkTTLs(def, most, MaxStandardTTL); err != nil {
			return fmt.Errorf("standard protocol: %w", err)
		}
		c.standard.ttl, c.standard.maxTTL = def, most
		return nil
	}
}

// WithStandardID makes a point that has [WithStandardProtocol] serve the standard protocol
// under a further protocol ID: some programs speak it under one of their own, such as
// /canvas/rendezvous/1.0.0. [Limits] needs the ID too. If the option is given twice, both
// count.
func WithStandardID(id protocol.ID) ServiceOption {
	return func(c *serviceConfig) error {
		if id == "" || id == RendezvousID_v001 || id == StandardID || slices.Contains(c.standard.further, id) {
			return fmt.Errorf("further ID %q of the standard protocol: it is empty or served already", id)
		}
		c.standard.further = append(c.standard.further, id)
		return nil
	}
}

// WithMaxDiscoverLimit sets how many registrations one answer has at most. A request for
// more, or without a limit, gets this many. 0 stands for the protocol's 1000, which is
// the default and the maximum. A lower limit costs the point less if records are long;
// gossipsub asks for 50.
func WithMaxDiscoverLimit(n int) ServiceOption {
	return func(c *serviceConfig) error {
		if n < 0 || n > MaxDiscoverLimit {
			return fmt.Errorf("limit of %d registrations in an answer: it must be from 0 to %d", n, MaxDiscoverLimit)
		}
		c.discoverLimit = n
		if n == 0 {
			c.discoverLimit = MaxDiscoverLimit
		}
		return nil
	}
}

// WithAuthorizer makes the service ask authorize about every REGISTER and DISCOVER that is
// otherwise in order; an UNREGISTER is always allowed. See [Authorizer]. The default is nil,
// which allows everything.
func WithAuthorizer(authorize Authorizer) ServiceOption {
	return func(c *serviceConfig) error {
		c.authorize = authorize
		return nil
	}
}

// WithMetrics registers the metrics of the service with reg, or with
// [prometheus.DefaultRegisterer] if reg is nil. Services with the same registerer are
// counted together.
func WithMetrics(reg prometheus.Registerer) ServiceOption {
	return func(c *serviceConfig) error {
		m, err := NewMetricsTracer(reg)
		if err != nil {
			return err
		}
		c.metrics = m
		return nil
	}
}

// WithMetricsTracer makes the service report to t instead of Prometheus.
func WithMetricsTracer(t MetricsTracer) ServiceOption {
	return func(c *serviceConfig) error {
		if t == nil {
			return errors.New("metrics tracer is nil")
		}
		c.metrics = t
		return nil
	}
}

// setLimit returns an option that sets a limit, where 0 is no limit.
func setLimit[N int | int64](of string, n N, set func(*serviceConfig)) ServiceOption {
	return func(c *serviceConfig) error {
		if n < 0 {
			return fmt.Errorf("limit of %d %s: it must not be negative", n, of)
		}
		set(c)
		return nil
	}
}

// ClientOption configures a [Client]. If an option is given twice, the last counts,
// except that [WithPoints] adds points. A bad value is an error also if a good one follows.
type ClientOption func(*clientConfig) error

type clientConfig struct {
	named      bool // whether WithPoints was given; else every peer that speaks the protocol is a point
	points     []peer.AddrInfo
	redundancy int
	protocols  []protocol.ID // the preferred one first
	lasting    time.Duration // the TTL to ask for over the standard protocol
	addrs      AddrsFactory  // nil: the addresses of the host's own record
	metrics    ClientMetricsTracer
	wallClock  func() time.Time           // without monotonic reading; nil: the machine's
	interfaces func() ([]net.Addr, error) // the addresses of the machine's interfaces; nil: those that the kernel says
}

func defaultClientConfig() clientConfig {
	return clientConfig{
		redundancy: 2,
		protocols:  []protocol.ID{RendezvousID_v001},
		lasting:    DefaultStandardTTL,
		metrics:    noClientMetrics{},
	}
}

// WithPoints names the rendezvous points to use, which are dialled as needed.
// [peer.AddrInfoFromString] makes one of an address that ends in /p2p/ and a peer ID. A
// host that is one of the points leaves itself out. WithPoints without any point is an
// error: a configuration that turned out empty must not make a point of every peer that
// speaks the protocol.
//
// Without this option a client uses every peer that its host knows to speak the protocol,
// and remembers such a peer for up to an hour after it is gone, as long as it knows fewer
// than 64 points.
func WithPoints(points ...peer.AddrInfo) ClientOption {
	return func(c *clientConfig) error {
		if err := checkPoints(points); err != nil {
			return err
		}
		c.named = true
		c.points = append(c.points, points...)
		return nil
	}
}

// checkPoints checks that points can be used as rendezvous points.
func checkPoints(points []peer.AddrInfo) error {
	if len(points) == 0 {
		return errors.New("no rendezvous point given: name one, or leave out WithPoints to use every peer that speaks the protocol")
	}
	for _, p := range points {
		if err := p.ID.Validate(); err != nil {
			return fmt.Errorf("rendezvous point at %v has no peer ID, which must be at the end of its address, after /p2p/: %w", p.Addrs, err)
		}
	}
	return nil
}

// WithProtocol sets which protocols the client speaks: [RendezvousID_v001], which is the
// default, [StandardID], or both. With each point it uses the first of ids that the point
// speaks, so a network can move from one to the other. Any other ID stands for the standard
// protocol under another ID, such as /canvas/rendezvous/1.0.0.
//
// Over the standard protocol, a registration lives for [WithStandardTTL] and not for 20
// seconds, and namespaces have at most 255 bytes.
func WithProtocol(ids ...protocol.ID) ClientOption {
	return func(c *clientConfig) error {
		if len(ids) == 0 {
			return errors.New("no protocol given")
		}
		for i, id := range ids {
			if !strings.HasPrefix(string(id), "/") || slices.Contains(ids[:i], id) {
				return fmt.Errorf("protocol %q: an ID begins with a slash, and may be given only once", id)
			}
		}
		c.protocols = slices.Clone(ids)
		return nil
	}
}

// WithStandardTTL sets the TTL that a client asks for over [StandardID], in whole seconds, at
// most [MaxStandardTTL]. 0 stands for [DefaultStandardTTL], which is the default, because
// many points refuse less. If the host goes away without unregistering, points hand out its
// registration for that long.
func WithStandardTTL(ttl time.Duration) ClientOption {
	return func(c *clientConfig) error {
		if ttl < 0 || ttl > MaxStandardTTL || ttl%time.Second != 0 {
			return fmt.Errorf("TTL of %v: it must be whole seconds, and %v at most", ttl, MaxStandardTTL)
		}
		c.lasting = cmp.Or(ttl, DefaultStandardTTL)
		return nil
	}
}

// WithRedundancy sets at how many points a client registers and searches for each
// namespace: 2 by default, at least 1. All peers of a namespace should use the same.
func WithRedundancy(n int) ClientOption {
	return func(c *clientConfig) error {
		if n < 1 {
			return fmt.Errorf("redundancy is %d, but must be at least 1", n)
		}
		c.redundancy = n
		return nil
	}
}

// AddrsFactory chooses which of a host's addresses are registered. Its argument is a copy of
// the addresses that the host announces, in which those of network interfaces that are gone
// are replaced by those that the machine has. It may return others. Repeats in what it
// returns are left out, and so is what exceeds 2048 bytes; the addresses that most peers can
// reach are kept. It is called before registrations, once for those that the client makes at the same
// time, and when the host's addresses may have changed. It is never called concurrently, and must not
// call the client.
type AddrsFactory = func([]ma.Multiaddr) []ma.Multiaddr

// WithAddrsFactory sets which addresses are registered: [AllAddrs], [PublicAddrs], or a
// function of your own. By default the host's own record is registered, as identify
// sends it, with all addresses. The option affects registrations only: peers that are
// connected learn a host's addresses from identify.
func WithAddrsFactory(f AddrsFactory) ClientOption {
	return func(c *clientConfig) error {
		if f == nil {
			return errors.New("addresses factory is nil")
		}
		c.addrs = f
		return nil
	}
}

// AllAddrs registers all addresses that the host announces, as far as they fit.
func AllAddrs(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }

// PublicAddrs registers the addresses that can be reached from anywhere: public
// addresses, DNS names among them, and those through a public relay. It returns a slice
// of its own. A host without such an address is not registered; the error is
// [ErrNoAddresses].
func PublicAddrs(addrs []ma.Multiaddr) []ma.Multiaddr { return peerrecord.Public(addrs) }

// WithClientMetrics registers the metrics of the client with reg, or with
// [prometheus.DefaultRegisterer] if reg is nil. Clients with the same registerer are
// counted together.
func WithClientMetrics(reg prometheus.Registerer) ClientOption {
	return func(c *clientConfig) error {
		m, err := collectors.Register(reg, newClientMetrics())
		if err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		c.metrics = m
		return nil
	}
}

// WithClientMetricsTracer makes the client report to t instead of Prometheus.
func WithClientMetricsTracer(t ClientMetricsTracer) ClientOption {
	return func(c *clientConfig) error {
		if t == nil {
			return errors.New("metrics tracer is nil")
		}
		c.metrics = t
		return nil
	}
}

// applyOptions applies options to a configuration and returns all their errors.
func applyOptions[C any, O ~func(*C) error](c *C, opts []O) error {
	var wrong []error
	for i, opt := range opts {
		if opt == nil {
			wrong = append(wrong, fmt.Errorf("option %d is nil", i+1))
			continue
		}
		wrong = append(wrong, opt(c))
	}
	return errors.Join(wrong...)
}
