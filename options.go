package rendezvous

// What a rendezvous point can be told.

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ServiceOption configures a [RendezvousService]. Without any, a service has the
// defaults that each option names. Of an option that is given twice, the last counts.
type ServiceOption func(*serviceConfig) error

const (
	defaultRate  = 50  // requests per second
	defaultBurst = 100 // requests
)

type serviceConfig struct {
	quota         Quota
	perIP         int // registrations
	rate          float64
	burst         int
	ttl, maxTTL   time.Duration
	discoverLimit int
	authorize     Authorizer
	metrics       MetricsTracer
}

func defaultServiceConfig() serviceConfig {
	return serviceConfig{
		quota:         Quota{PerPeer: 1000, Total: 1_000_000},
		perIP:         1000,
		rate:          defaultRate,
		burst:         defaultBurst,
		ttl:           DefaultTTL,
		maxTTL:        MaxTTL,
		discoverLimit: MaxDiscoverLimit,
		metrics:       noMetrics{},
	}
}

// WithRateLimit limits the requests of each peer to perSecond in the long run,
// and to burst at once. 0, 0 is no limit. The default is 50 and 100: a node with
// ten topics makes ten requests to start with and fewer than twenty a second when
// it searches for peers in all of them.
//
// A peer over its rate is answered E_UNAVAILABLE, before anything else is looked
// at; that costs it a quarter of a request, and once it owes another burst its
// streams are reset unread. All peers of one address, counted as
// [WithMaxRegistrationsPerIP] does, have 20 times a peer's rate and burst
// together: a peer can have as many identities as it likes.
//
// burst is at least 1, and an empty bucket must fill within an hour: until then the
// point remembers the peer.
func WithRateLimit(perSecond float64, burst int) ServiceOption {
	return func(c *serviceConfig) error {
		switch none := perSecond == 0 && burst == 0; {
		case none:
		case math.IsNaN(perSecond), math.IsInf(perSecond, 0), perSecond <= 0, burst < 1:
			return fmt.Errorf("rate limit of %v requests per second and %d at once: both must be over 0, or both 0", perSecond, burst)
		case float64(burst)/perSecond > time.Hour.Seconds():
			return fmt.Errorf("rate limit of %v requests per second and %d at once: these must come to at most an hour", perSecond, burst)
		}
		c.rate, c.burst = perSecond, burst
		return nil
	}
}

// WithMaxRegistrationsPerPeer limits how many registrations one peer has at a
// time, over all namespaces; more are answered E_NOT_AUTHORIZED. 0 is no limit,
// the default 1000: more topics than a node has, and a thousandth of a full point.
func WithMaxRegistrationsPerPeer(n int) ServiceOption {
	return setLimit("registrations per peer", n, func(c *serviceConfig) { c.quota.PerPeer = n })
}

// WithMaxRegistrations limits how many registrations the point's storage keeps at
// a time; more are answered E_UNAVAILABLE. 0 is no limit, the default 1,000,000:
// under a gigabyte with records as most hosts have them.
func WithMaxRegistrations(n int) ServiceOption {
	return setLimit("registrations", n, func(c *serviceConfig) { c.quota.Total = n })
}

// WithMaxRegistrationsPerIP limits how many registrations come from one IPv4
// address (/32) or IPv6 network (/64) at a time, as seen on the connection, so
// that a thousand identities on one machine cannot own a namespace. Those of a
// relayed connection count against its relay. Loopback is exempt, as it is in
// go-libp2p's limiter of connections, and so is what has no IP address. More are
// answered E_UNAVAILABLE and not E_NOT_AUTHORIZED: it need not be this peer's
// doing, and its neighbours may leave. It is checked before the peer's own limit.
//
// 0 is no limit, the default 1000: as many as one peer may have. Raise it where
// many peers share an address. Points that share a storage each count for
// themselves, as does a point that was started anew.
func WithMaxRegistrationsPerIP(n int) ServiceOption {
	return setLimit("registrations per IP", n, func(c *serviceConfig) { c.perIP = n })
}

// longestTTL bounds the TTLs that a point can be told to grant.
const longestTTL = 24 * time.Hour

// WithTTL sets the TTL of registrations that do not ask for one, and the longest
// that one may ask for; a longer one is answered E_INVALID_TTL. Clients of this library
// ask for 20 seconds, and so are refused where most is less. Both are whole
// seconds, def at most most, and most at most 24 hours. 0 is the protocol's: 20
// seconds for either, which is the default too. It is the time for which a peer
// that is gone may still be found.
func WithTTL(def, most time.Duration) ServiceOption {
	if most == 0 {
		most = MaxTTL
	}
	if def == 0 {
		def = min(DefaultTTL, most)
	}
	return func(c *serviceConfig) error {
		if def < time.Second || def > most || most > longestTTL || def%time.Second != 0 || most%time.Second != 0 {
			return fmt.Errorf("TTL of %v by default and %v at most: both must be whole seconds from 1s to %v, and the first no longer than the second", def, most, longestTTL)
		}
		c.ttl, c.maxTTL = def, most
		return nil
	}
}

// WithMaxDiscoverLimit sets how many registrations one answer holds at most: what
// asks for more, or does not say, gets so many. 0 is the protocol's 1000, which is
// the default and the most. Fewer cost the point less where records are long;
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

// WithAuthorizer has the service ask authorize about every request that is
// otherwise in order; see [Authorizer]. The default, and nil, is to let everyone
// do everything.
func WithAuthorizer(authorize Authorizer) ServiceOption {
	return func(c *serviceConfig) error {
		c.authorize = authorize
		return nil
	}
}

// setLimit is an option that sets a limit of which 0 is none.
func setLimit(of string, n int, set func(*serviceConfig)) ServiceOption {
	return func(c *serviceConfig) error {
		if n < 0 {
			return fmt.Errorf("limit of %d %s: it must not be negative", n, of)
		}
		set(c)
		return nil
	}
}

// applyOptions applies those of a service or of a client to its configuration, and
// returns all that is wrong with them.
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
