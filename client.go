package rendezvous

// The client: what a peer can do at rendezvous points.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

// Client speaks to rendezvous points on behalf of its host. It is a
// [discovery.Discovery], so a program that uses gossipsub and [Client.Watch] needs one
// client for both. All methods are safe for concurrent use. A Client has no Close:
// everything that a call starts ends with that call, with its context, or with the
// channel that it returns. [NewClient] makes one; the zero value is not usable.
type Client struct {
	asker     *asker
	registrar *registrar
	searches  *searches
	named     bool  // whether WithPoints was given
	err       error // what is wrong with the arguments, for every call to return
}

var _ discovery.Discovery = (*Client)(nil)

// NewClient returns a client for h. Errors of the arguments are logged, and every call
// returns them.
func NewClient(h host.Host, opts ...ClientOption) *Client {
	config := defaultClientConfig()
	c := new(Client)
	err := applyOptions(&config, opts)
	if h == nil {
		err = errors.New("a host is needed")
	}
	if err != nil {
		c.err = fmt.Errorf("rendezvous client: %w", err)
		logging.Log.Error("every call of this rendezvous client fails because of its arguments", "error", c.err)
	}
	if h == nil {
		return c
	}
	c.named = config.named
	c.asker = newAsker(h, config)
	c.registrar = newRegistrar(c.asker)
	c.searches = newSearches(c.asker)
	return c
}

// NewRendezvousDiscovery returns a [discovery.Discovery] for h, to pass to
// pubsub.WithDiscovery. It is a *[Client], as [NewClient] returns it.
//
// The namespace of a gossipsub topic is "floodsub:" and the topic's name; gossipsub
// chooses it. To ask a point who is in topic "news", discover "floodsub:news".
func NewRendezvousDiscovery(h host.Host, opts ...ClientOption) discovery.Discovery {
	return NewClient(h, opts...)
}

// check returns the error of the client's arguments, or of a namespace that must not be
// empty.
func (c *Client) check(ns string) error {
	if c.err != nil {
		return c.err
	}
	return checkNamespace(ns, c.asker.maxNamespace)
}

// Register registers the host in namespace ns at one point, for ttl, rounded up to whole
// seconds. With a ttl of 0 the point chooses. It returns the TTL that the point granted, at
// most ttl. If ttl is 0, the result is at most [DefaultTTL], or [MaxStandardTTL] over [StandardID].
// The registration ends after that time unless it is refreshed.
//
// Register waits first, up to five seconds, until the point's backoff after failures ends, and
// fails at once if that is later. The request takes five seconds at most. If the point refuses
// it, the error is a [*StatusError]; any other error but that of ctx or the arguments means that
// there was no valid answer.
func (c *Client) Register(ctx context.Context, point peer.ID, ns string, ttl time.Duration) (time.Duration, error) {
	if c.err != nil {
		return 0, c.err
	}
	granted, err := c.asker.registerOnce(ctx, c.asker.points.Point(point), ns, ttl)
	if err != nil {
		return 0, fmt.Errorf("register in %q at rendezvous point %s: %w", ns, point, err)
	}
	return granted, nil
}

// Unregister ends the host's registration in namespace ns at one point that speaks
// [StandardID]. There is no answer, so no error means only that the message was sent. Over
// [RendezvousID_v001] it sends nothing, but still opens a stream to learn the protocol: a
// registration that is not refreshed ends there within seconds. Unregister takes one second
// at most, and fails at once if the point is in backoff. ns must not be empty.
// [Client.KeepRegistered] and [Client.Advertise] unregister by themselves.
func (c *Client) Unregister(ctx context.Context, point peer.ID, ns string) error {
	if c.err != nil {
		return c.err
	}
	ctx, cancel := context.WithTimeout(ctx, unregisterTimeout)
	defer cancel()
	if err := c.asker.unregister(ctx, c.asker.points.Point(point), ns); err != nil {
		return fmt.Errorf("unregister from %q at rendezvous point %s: %w", ns, point, err)
	}
	return nil
}

// Discover asks one point for a random sample of the peers in namespace ns. It returns at
// most limit registrations; a limit below 1, or over [MaxDiscoverLimit], stands for
// MaxDiscoverLimit. An empty ns asks across all namespaces. Invalid records are left out.
// The host itself may be among the peers. The caller owns the result. Nothing is added to
// the host's peerstore. Discover waits, and fails, as [Client.Register] does.
//
// Over [StandardID], Discover reads up to eight pages and returns the registrations that the
// point hands out first. At most points these are the oldest ones, not a random sample. If a
// later page fails, Discover returns the registrations of the earlier pages and no error.
func (c *Client) Discover(ctx context.Context, point peer.ID, ns string, limit int) ([]Registration, error) {
	if c.err != nil {
		return nil, c.err
	}
	found, err := c.asker.discoverAll(ctx, c.asker.points.Point(point), ns, limit)
	if err != nil {
		return nil, fmt.Errorf("discover %q at rendezvous point %s: %w", ns, point, err)
	}
	return found, nil
}

// KeepRegistered registers the host in namespaces and keeps it registered until ctx ends,
// whatever fails meanwhile. It refreshes each registration after 45 to 60 % of its TTL and
// retries failures until they succeed. It registers again at once when the host's addresses
// change, when the host connects to a point, and after the machine slept.
//
// Over [StandardID], a lasting registration is refreshed every five minutes, or as often as
// one of 20 seconds while the client searches the namespace: a host that searches also needs
// to be found, and clients that follow cookies read only what was registered or refreshed
// since. The host also registers again when the connection to the point is lost. When ctx
// ends, the client unregisters, which takes a second at most.
//
// The channel carries the state whenever it changes, also when the last registration in a
// namespace ends. It need not be read: it holds only the newest state and blocks nothing. The last
// state is the one when ctx ended. The channel is closed after that, when everything that
// KeepRegistered started has ended. Registrations over [RendezvousID_v001] end with their
// TTL. The error is about the arguments, and is returned at once.
func (c *Client) KeepRegistered(ctx context.Context, ns ...string) (<-chan State, error) {
	out, err := c.keepRegistered(ctx, ns)
	if err != nil {
		return nil, fmt.Errorf("keep registered in %q: %w", ns, err)
	}
	return out, nil
}

func (c *Client) keepRegistered(ctx context.Context, namespaces []string) (<-chan State, error) {
	if len(namespaces) == 0 {
		return nil, c.check("")
	}
	for _, ns := range namespaces {
		if err := c.check(ns); err != nil {
			return nil, err
		}
	}
	return c.registrar.keepRegistered(ctx, namespaces)
}

// Watch reports who joins namespace ns and who leaves it, beginning with the peers that
// are there, until ctx ends. Then it closes the channel. The host itself is left out.
// Watch asks the namespace's points about once a second while peers or points come and go,
// and down to every eighth second while none do. A peer has left when the point that returned
// it answers and no longer has it, up to one TTL after the peer is gone, and up to two after a
// peer unregistered at the point over [StandardID]. Time in which the point does not answer does
// not count.
//
// The reader may be slow: Watch reports the difference between what the reader was told
// and the present, so a peer that came and went meanwhile is not reported. In a namespace
// with more peers than one answer holds ([MaxDiscoverLimit], or 160 and fewer through a relay
// that limits connections), each answer is another sample. It then takes longer until a
// peer is reported to leave.
//
// Over [StandardID], Watch follows what is new and reads everything once a minute. A peer has
// left when it has unregistered, up to a minute later, or at the end of its TTL, which may
// be hours. If a point has more peers than the client remembers, which are a thousand with long
// records or a few thousand, Watch reports a random part of them, and reports at the end of its
// TTL that a peer has left. The error is about the arguments, and is returned at once.
func (c *Client) Watch(ctx context.Context, ns string) (<-chan Event, error) {
	if err := c.check(ns); err != nil {
		return nil, fmt.Errorf("watch %q: %w", ns, err)
	}
	out, err := watch(ctx, c.asker, ns)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", ns, err)
	}
	return out, nil
}

// Advertise registers the host in namespace ns, for about twice the duration that it
// returns. The caller calls it again after that duration. If no point is known yet, it
// waits a few seconds for one. With an error, the duration is when to retry; it is never
// zero, because gossipsub would then wait for two minutes. [discovery.TTL] is clamped to
// what the protocol allows.
//
// Between the calls, Advertise keeps the host registered as [Client.KeepRegistered] does:
// it registers again when the host's addresses change or a point comes back, and retries
// what failed. A call with the same TTL as the last one sends nothing to a point where no
// refresh is due. This ends with the ctx of the last call. If ctx does not end, it ends
// [DefaultTTL] after that call, or five thirds of the returned duration if that is longer,
// and two minutes later if the call failed.
//
// Calls of Advertise and KeepRegistered for one namespace share its refreshes. Over
// [StandardID], the duration is minutes, the client asks for [discovery.TTL] unchanged up to
// [MaxStandardTTL], and it unregisters when this ends.
func (c *Client) Advertise(ctx context.Context, ns string, opts ...discovery.Option) (time.Duration, error) {
	next, err := c.advertise(ctx, ns, opts)
	if err != nil {
		return max(next, retryDelay), fmt.Errorf("advertise in %q: %w", ns, err)
	}
	return next, nil
}

func (c *Client) advertise(ctx context.Context, ns string, opts []discovery.Option) (time.Duration, error) {
	var options discovery.Options
	if err := options.Apply(opts...); err != nil {
		return 0, err
	}
	if err := c.check(ns); err != nil {
		return 0, err
	}
	return c.registrar.advertise(ctx, ns, options.Ttl)
}

// FindPeers searches for peers in namespace ns. The channel carries each peer once, as
// points answer, and is closed when they have answered or after eight seconds; it need
// not be read to the end. Each point gets an equal part of the results, whichever answers
// first. All calls at the same time share one query. The next query follows 0.75 seconds
// after the last one ended, and later, up to 2.5 seconds, while nothing changes. Until
// then, and when no point answers, the peers come from earlier answers, for as long as
// their registrations live.
//
// Peers that the host is connected to are left out. gossipsub knows these already, and
// lengthens a peer's backoff each time that the peer is found. [discovery.Limit] bounds the
// number of peers; it is 50 by default and [MaxDiscoverLimit] at most, and a negative one is an
// error. If no point is known,
// the error is [ErrNoPoints]. If there is an error, the channel is closed and empty.
func (c *Client) FindPeers(ctx context.Context, ns string, opts ...discovery.Option) (<-chan peer.AddrInfo, error) {
	out, err := c.findPeers(ctx, ns, opts)
	if err != nil {
		closed := make(chan peer.AddrInfo)
		close(closed)
		return closed, fmt.Errorf("find peers in %q: %w", ns, err)
	}
	return out, nil
}

func (c *Client) findPeers(ctx context.Context, ns string, opts []discovery.Option) (<-chan peer.AddrInfo, error) {
	var options discovery.Options
	if err := options.Apply(opts...); err != nil {
		return nil, err
	}
	if err := c.check(ns); err != nil {
		return nil, err
	}
	if options.Limit < 0 {
		return nil, fmt.Errorf("limit is %d", options.Limit)
	}
	return c.searches.find(ctx, ns, options.Limit)
}

// SearchErr returns why no point has answered a search of [Client.FindPeers] or
// [Client.Watch] for [DefaultTTL] or longer: [ErrNoPoints] or the errors of the points. It
// is nil while points answer, and before the first search.
func (c *Client) SearchErr() error {
	if c.err != nil {
		return c.err
	}
	return c.asker.silence.Err()
}

// SetPoints replaces the rendezvous points of [WithPoints] while the client runs. What the
// points that are removed have said is forgotten: FindPeers returns none of it. Once the other
// points have answered for ten seconds, Watch reports that the peers which none of them has have
// left. A call without a point, or on a client without WithPoints, is an error.
func (c *Client) SetPoints(points ...peer.AddrInfo) error {
	if err := c.setPoints(points); err != nil {
		return fmt.Errorf("set rendezvous points: %w", err)
	}
	return nil
}

func (c *Client) setPoints(points []peer.AddrInfo) error {
	switch {
	case c.err != nil:
		return c.err
	case !c.named:
		return errors.New("the client was made without WithPoints")
	}
	if err := checkPoints(points); err != nil {
		return err
	}
	c.asker.points.SetNamed(points)
	return nil
}
