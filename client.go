package rendezvous

// A peer's side: one request to one point.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// requestTimeout bounds a request to one point, the dialling of it included.
const requestTimeout = 5 * time.Second

// ClientOption configures a [Client], and what [NewRendezvousDiscovery] returns. Of an
// option that is given twice the last counts, but [WithPoints] adds.
type ClientOption func(*clientConfig) error

type clientConfig struct {
	points     []peer.AddrInfo
	redundancy int
	addrs      AddrsFactory // nil: those of the host's own record
	metrics    ClientMetricsTracer
}

// WithPoints names the rendezvous points to use, which are dialled as needed;
// [peer.AddrInfoFromString] makes one of an address that ends in /p2p/ and a peer ID. A
// host that is one of them leaves itself out. Without points a client uses every
// peer that its host knows to speak the protocol, and remembers it for an hour when
// it is gone.
func WithPoints(points ...peer.AddrInfo) ClientOption {
	return func(c *clientConfig) error {
		for _, p := range points {
			if err := p.ID.Validate(); err != nil {
				return fmt.Errorf("rendezvous point at %v has no peer ID, such as its address ends in after /p2p/: %w", p.Addrs, err)
			}
		}
		c.points = append(c.points, points...)
		return nil
	}
}

// WithRedundancy sets at how many points a client registers and asks for each
// namespace, 2 by default and at least 1. All peers of a namespace should use the same.
func WithRedundancy(n int) ClientOption {
	return func(c *clientConfig) error {
		if n < 1 {
			return fmt.Errorf("redundancy is %d, at least 1 is needed", n)
		}
		c.redundancy = n
		return nil
	}
}

// Client speaks to rendezvous points on behalf of its host. All methods may be
// called at the same time. It has nothing to close: what a call starts ends with
// that call, or with the channel that it returns. The zero value is of no use:
// [NewClient] makes one.
type Client struct {
	host     host.Host
	config   clientConfig
	err      error // what was wrong with the arguments, for every call to return
	points   *points
	own      ownRecord
	verified *verified

	began      time.Time
	registered atomic.Int64 // when it last was, in nanoseconds since it began
	complaints logLimit
}

// NewClient returns a client for h. What is wrong with an option is logged, and told by
// every call.
func NewClient(h host.Host, opts ...ClientOption) *Client {
	c := &Client{host: h, config: clientConfig{redundancy: 2, metrics: noClientMetrics{}}, began: time.Now()}
	if h == nil {
		c.err = errors.New("rendezvous client: a host is needed")
		return c
	}
	if err := applyOptions(&c.config, opts); err != nil {
		c.err = fmt.Errorf("rendezvous client: %w", err)
		log.Error("no rendezvous: what is wrong with the client's options fails every call", "error", c.err)
	}
	c.points = newPoints(h, c.config.points)
	c.own = ownRecord{host: h, addrs: c.config.addrs}
	c.verified = newVerified()
	return c
}

// check returns what was wrong with the client's arguments, or is with a namespace
// that must be there.
func (c *Client) check(ns string) error {
	if c.err != nil {
		return c.err
	}
	return checkNamespace(ns)
}

// Registration is a peer that a point says is alive in a namespace. Its record
// was verified: only the peer itself can have made it.
type Registration struct {
	Namespace string
	Peer      peer.AddrInfo
	// Seq is the number of the peer's record: of two, the one with the higher is
	// newer, whichever point gave it.
	Seq uint64
	// TTL is how long the registration still lives if the peer does not refresh
	// it, in whole seconds, and at most [MaxTTL] whatever the point says.
	TTL time.Duration
}

// Register registers the host in namespace ns at one point, for ttl, rounded up
// to whole seconds; 0 leaves it to the point. It returns the TTL that the point
// granted, and never more than was asked for, which for 0 is [DefaultTTL]. The
// registration ends then, unless it is made again before.
func (c *Client) Register(ctx context.Context, point peer.ID, ns string, ttl time.Duration) (time.Duration, error) {
	granted, err := c.register(ctx, point, ns, ttl)
	if err != nil {
		return 0, fmt.Errorf("register in %q at rendezvous point %s: %w", ns, point, err)
	}
	return granted, nil
}

func (c *Client) register(ctx context.Context, point peer.ID, ns string, ttl time.Duration) (time.Duration, error) {
	if err := c.check(ns); err != nil {
		return 0, err
	}
	if ttl < 0 {
		return 0, refuse(pb.Message_E_INVALID_TTL, "ttl is negative")
	}
	envelope, err := c.own.envelope()
	if err != nil {
		return 0, err
	}
	started := time.Now()
	granted, err := c.requestRegister(ctx, point, ns, envelope, ttl)
	c.config.metrics.Requested(pb.Message_REGISTER, err, time.Since(started))
	return granted, err
}

// requestRegister makes a REGISTER that nothing is wrong with on this side.
func (c *Client) requestRegister(ctx context.Context, point peer.ID, ns string, envelope []byte, ttl time.Duration) (time.Duration, error) {
	in := answerReaders.Get().(*answerReader)
	defer in.release()
	frame, err := c.roundTrip(ctx, point, registerRequest(ns, envelope, ttl), in, maxRequestSize)
	if err != nil {
		return 0, err
	}
	answer, err := parseMessage(frame)
	if err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	r := answer.GetRegisterResponse()
	if answer.GetType() != pb.Message_REGISTER_RESPONSE || r == nil {
		return 0, fmt.Errorf("%w: REGISTER was answered with %s", ErrProtocol, answer.GetType())
	}
	if err := statusError(r.GetStatus(), r.GetStatusText()); err != nil {
		return 0, err
	}
	asked := time.Duration(wireSeconds(ttl)) * time.Second
	if asked == 0 {
		asked = DefaultTTL
	}
	granted := statedTTL(r.GetTtl(), asked)
	c.config.metrics.Registered(point, granted)
	return granted, nil
}

// Discover asks one point for a random sample of the peers in namespace ns, of
// limit at most; 0 is the most that a point gives, and so is any limit over
// [MaxDiscoverLimit]. An empty ns asks across all namespaces. Records that do not
// verify are left out; the others are added to the host's peerstore for as long
// as their registration lives. The host itself may be among them.
func (c *Client) Discover(ctx context.Context, point peer.ID, ns string, limit int) ([]Registration, error) {
	found, err := c.discover(ctx, point, ns, limit)
	if err != nil {
		return nil, fmt.Errorf("discover %q at rendezvous point %s: %w", ns, point, err)
	}
	return found, nil
}

func (c *Client) discover(ctx context.Context, point peer.ID, ns string, limit int) ([]Registration, error) {
	if c.err != nil {
		return nil, c.err
	}
	if err := checkNamespaceSize(ns); err != nil {
		return nil, err
	}
	started := time.Now()
	found, err := c.requestDiscover(ctx, point, ns, grantLimit(int64(limit), MaxDiscoverLimit))
	c.config.metrics.Requested(pb.Message_DISCOVER, err, time.Since(started))
	return found, err
}

// requestDiscover makes a DISCOVER that nothing is wrong with on this side.
func (c *Client) requestDiscover(ctx context.Context, point peer.ID, ns string, limit int) ([]Registration, error) {
	in := answerReaders.Get().(*answerReader)
	defer in.release()
	frame, err := c.roundTrip(ctx, point, discoverRequest(ns, limit), in, answerSize(limit))
	if err != nil {
		return nil, err
	}
	answer := &in.discovered
	if err := answer.parse(frame, limit); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if answer.kind != pb.Message_DISCOVER_RESPONSE || !answer.answered {
		return nil, fmt.Errorf("%w: DISCOVER was answered with %s", ErrProtocol, answer.kind)
	}
	if err := statusError(answer.status, answer.text); err != nil {
		return nil, err
	}
	return c.accept(point, ns, answer.claims), nil
}

// accept takes from a point's answer what holds.
func (c *Client) accept(point peer.ID, ns string, answer []claim) []Registration {
	seen := make(map[uint64]struct{}, len(answer)) // by the hash of namespace and peer
	found := make([]Registration, 0, len(answer))
	known, now := c.verified.known(point, answer), c.verified.now()
	for i := range answer {
		a := &answer[i]
		o, err := c.acceptOne(point, ns, now, a, known[i])
		if err != nil {
			continue
		}
		// Turned, for a namespace that is called as its peer would be 0 otherwise.
		in := bits.RotateLeft64(c.verified.hash(a.namespace), 1) ^ o.peerHash
		if _, twice := seen[in]; twice {
			continue
		}
		seen[in] = struct{}{}
		name := ns
		if name == "" {
			name = string(a.namespace)
		}
		found = append(found, Registration{
			Namespace: name,
			Peer:      peer.AddrInfo{ID: o.id, Addrs: o.addrs},
			Seq:       o.seq,
			TTL:       statedTTL(a.ttl, MaxTTL),
		})
	}
	cloneAddrs(found)
	if refused := len(answer) - len(found); refused > 0 {
		log.Debug("rendezvous point gave records that do not hold", "point", point, "namespace", ns, "refused", refused, "accepted", len(found))
	}
	return found
}

// acceptOne returns the record of a registration, which is known if it was verified
// before, and has the host's peerstore keep it.
func (c *Client) acceptOne(point peer.ID, ns string, now time.Duration, a *claim, known *opened) (*opened, error) {
	if ns != "" && string(a.namespace) != ns {
		return nil, fmt.Errorf("%w: a registration of another namespace", ErrProtocol)
	}
	o, cached := known, known != nil
	if !cached {
		var err error
		if o, cached, err = c.verified.open(point, a.envelope); err != nil {
			c.config.metrics.Verified(cached, err)
			return nil, err
		}
	}
	c.config.metrics.Verified(cached, nil)
	// The peerstore may know a newer record, or be full: the registration holds all the same.
	if err := o.keep(c.host, now, statedTTL(a.ttl, MaxTTL)); err != nil {
		log.Debug("peerstore does not take a record", "peer", o.id, "error", err)
	}
	return o, nil
}

// cloneAddrs makes the addresses of those found the caller's own, all in one
// allocation, which counts among 50 (library, DISCOVER 50 of 1,000).
func cloneAddrs(found []Registration) {
	n := 0
	for i := range found {
		n += len(found[i].Peer.Addrs)
	}
	all := make([]ma.Multiaddr, 0, n)
	for i := range found {
		begin := len(all)
		all = append(all, found[i].Peer.Addrs...)
		found[i].Peer.Addrs = all[begin:len(all):len(all)]
	}
}

// answerSize is the longest answer to a DISCOVER with a limit, in bytes: a point
// that sends more does not get it read.
func answerSize(limit int) int {
	const perRegistration = maxEnvelopeSize + MaxNamespaceSize + 32
	return min(maxAnswerSize, maxRequestSize+limit*perRegistration)
}

// roundTrip sends one request to a point and reads its answer, of at most size bytes,
// by means of in, which keeps it. It takes no longer than ctx and [requestTimeout]
// allow, whatever the point does: then the stream is reset.
func (c *Client) roundTrip(ctx context.Context, point peer.ID, request *pb.Message, in *answerReader, size int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	st, err := c.open(ctx, point)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	release := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer release()

	frame, err := in.exchange(st, request, size)
	if err != nil {
		_ = st.Reset()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	_ = st.Close()
	return frame, nil
}

// open opens a stream to a point, over a relay if need be.
func (c *Client) open(ctx context.Context, point peer.ID) (network.Stream, error) {
	ctx = network.WithAllowLimitedConn(ctx, ServiceName)
	c.points.introduce(point)
	st, err := c.host.NewStream(ctx, point, RendezvousID_v001)
	if err == nil || ctx.Err() != nil || c.host.Network().Connectedness(point) != network.NotConnected {
		return st, err
	}
	// The host's own backoff from addresses that did not answer grows to five
	// minutes, in which a point that is back would not be dialled. To dial directly
	// is to ignore it; the client has backoffs of its own.
	// What it says is also why the point is not reached; the first error may say no
	// more than that there is a backoff.
	if err := c.host.Connect(network.WithForceDirectDial(ctx, ServiceName), peer.AddrInfo{ID: point}); err != nil {
		return nil, err
	}
	return c.host.NewStream(ctx, point, RendezvousID_v001)
}

// answerReader is what it takes to read an answer from a stream.
type answerReader struct {
	*bufio.Reader
	frame      []byte
	discovered discovered // as read from frame
}

var answerReaders = sync.Pool{
	New: func() any { return &answerReader{Reader: bufio.NewReaderSize(nil, 4<<10)} },
}

// exchange sends a request and returns the frame of its answer, of at most size bytes,
// which is good until the next or release.
func (r *answerReader) exchange(st network.Stream, request *pb.Message, size int) ([]byte, error) {
	if err := st.Scope().SetService(ServiceName); err != nil {
		return nil, fmt.Errorf("attach stream to service: %w", err)
	}
	frame, err := appendFrame(r.frame[:0], request)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if _, err := st.Write(frame); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	if err := st.CloseWrite(); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	r.Reset(st)
	frame, err = readFrame(r.Reader, frame, size)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	r.frame = frame
	return frame, nil
}

// release keeps what it took for the next answer, unless few are that long.
func (r *answerReader) release() {
	r.Reset(nil)
	clear(r.discovered.claims)
	if cap(r.frame) > 64<<10 {
		r.frame, r.discovered = nil, discovered{}
	}
	answerReaders.Put(r)
}
