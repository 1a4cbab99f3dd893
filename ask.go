package rendezvous

// Requests of a peer to rendezvous points: one REGISTER or DISCOVER to one point.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/points"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// Registration is a peer that is alive in a namespace, according to a point. Its record
// was verified: only the peer itself can have made it.
type Registration struct {
	Namespace string
	// Peer has at most 16 addresses of the record, those that most others can reach
	// first. Private addresses are left out unless the point is on a private address,
	// and loopback addresses unless it is on loopback. There may be none.
	Peer peer.AddrInfo
	// Seq is the sequence number of the peer's record.
	Seq uint64
	// TTL is how long the registration lives unless the peer refreshes it, in whole
	// seconds, and at most [MaxTTL] whatever the point says.
	TTL time.Duration
}

// asker sends the requests of one host to rendezvous points.
type asker struct {
	host       host.Host
	metrics    ClientMetricsTracer
	redundancy int // at how many points a host registers in a namespace and searches it
	points     *points.Set
	own        *peerrecord.Own
	records    *peerrecord.Cache
	silence    *silence
	twins      logging.Limit
}

func newAsker(h host.Host, config clientConfig) *asker {
	return &asker{
		host:       h,
		metrics:    config.metrics,
		redundancy: config.redundancy,
		points: points.New(points.Config{
			Host:       h,
			Protocols:  []protocol.ID{RendezvousID_v001},
			Service:    ServiceName,
			Named:      config.points,
			AnySpeaker: !config.named,
			Judge:      judge,
			WallClock:  config.wallClock,
		}),
		own:     peerrecord.NewOwn(h, config.addrs),
		records: peerrecord.NewCache(),
		silence: new(silence),
	}
}

// silence notices that no point answers searches any more.
type silence struct {
	changed func() // called when what err returns has changed
	lines   logging.Limit

	mu    sync.Mutex
	since time.Time // of the first search that failed since a point answered
	last  error     // of the last search, once it has been so for the life of a registration
}

// searched takes in how a search of a namespace has ended. That nobody can be found is
// logged once it has been so for the life of a registration. Gossipsub, for one, does not
// show the errors of its discovery.
func (s *silence) searched(ns string, err error) {
	silent, changed := s.update(err)
	if changed && s.changed != nil {
		s.changed()
	}
	if !silent {
		return
	}
	if n, due := s.lines.Due(); due {
		logging.Log.Error("no rendezvous point answers searches, so this host finds nobody", "namespace", ns, "error", err, "times", n)
	}
}

func (s *silence) update(err error) (silent, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.last != nil
	switch {
	case err == nil:
		s.since, s.last = time.Time{}, nil
	case s.since.IsZero():
		s.since = time.Now()
	case time.Since(s.since) >= DefaultTTL:
		s.last = err
	}
	return s.last != nil, was != (s.last != nil)
}

// err returns why no point has answered a search for the life of a registration, or nil.
func (s *silence) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// register sends a REGISTER to a point and returns the TTL that the point granted. A
// refresh is a registration of the same bytes while they are live.
func (a *asker) register(ctx context.Context, point *points.Point, ns string, ttl time.Duration, refresh bool) (time.Duration, error) {
	if err := checkNamespace(ns, MaxNamespaceSize); err != nil {
		return 0, err
	}
	if ttl < 0 {
		return 0, refuse(pb.Message_E_INVALID_TTL, "ttl is negative")
	}
	envelope, err := a.own.Envelope()
	if err != nil {
		return 0, err
	}
	ended := RequestEnded{Type: RequestRegister, Point: point.ID()}
	started := time.Now()
	ended.TTL, ended.Err = sendRegister(ctx, point, ns, envelope, ttl, refresh)
	ended.Duration = time.Since(started)
	a.metrics.RequestEnded(ended)
	return ended.TTL, ended.Err
}

func sendRegister(ctx context.Context, point *points.Point, ns string, envelope []byte, ttl time.Duration, refresh bool) (granted time.Duration, err error) {
	seconds := wireSeconds(ttl)
	asked := time.Duration(seconds) * time.Second
	if asked == 0 {
		asked = DefaultTTL
	}
	request := wire.Request{Kind: wire.Register, Register: wire.Registration{Namespace: []byte(ns), Envelope: envelope, TTL: seconds}}
	price := limit.Request
	if refresh {
		price = limit.Refresh
	}
	err = send(ctx, point, &request, price, wire.Waku.MaxRequest, 0, func(answer *wire.Answer) error {
		r := &answer.Register
		if answer.Kind != wire.RegisterResponse || !r.Present {
			return fmt.Errorf("%w: REGISTER was answered with %s", ErrProtocol, answer.Kind)
		}
		granted = clampTTL(r.TTL, asked)
		return statusError(r.Status, r.Text)
	})
	if err != nil {
		return 0, err
	}
	return granted, nil
}

// discover sends a DISCOVER to a point and returns the valid registrations in the answer.
func (a *asker) discover(ctx context.Context, point *points.Point, ns string, limit int) ([]Registration, error) {
	if err := checkNamespaceSize(ns, MaxNamespaceSize); err != nil {
		return nil, err
	}
	ended := RequestEnded{Type: RequestDiscover, Point: point.ID()}
	started := time.Now()
	var found []Registration
	found, ended.Err = a.sendDiscover(ctx, point, ns, grantLimit(int64(limit), MaxDiscoverLimit), &ended)
	ended.Duration = time.Since(started)
	a.metrics.RequestEnded(ended)
	return found, ended.Err
}

func (a *asker) sendDiscover(ctx context.Context, point *points.Point, ns string, most int, ended *RequestEnded) (found []Registration, err error) {
	request := wire.Request{Kind: wire.Discover, Discover: wire.Query{Namespace: []byte(ns), Limit: int64(most)}}
	err = send(ctx, point, &request, limit.Request, answerSize(most), most, func(answer *wire.Answer) error {
		d := &answer.Discover
		if answer.Kind != wire.DiscoverResponse || !d.Present {
			return fmt.Errorf("%w: DISCOVER was answered with %s", ErrProtocol, answer.Kind)
		}
		if err := statusError(d.Status, d.Text); err != nil {
			return err
		}
		var err error
		found, err = a.accept(ctx, point.ID(), ns, d.Registrations, ended)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// see sends a DISCOVER to a point and records the peers in the answer, without the host
// itself. It returns what all points together say of each.
func (a *asker) see(ctx context.Context, point *points.Point, ns string, limit int) ([]points.Sighting, error) {
	found, err := a.discover(ctx, point, ns, min(limit, answerLimit(point)))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	seen := make([]points.Sighting, 0, len(found))
	for _, r := range found {
		if r.Peer.ID != a.host.ID() {
			seen = append(seen, points.Sighting{Peer: r.Peer, Seq: r.Seq, Until: now.Add(r.TTL)})
		} else if a.own.Foreign(r.Peer.Addrs) {
			a.logTwin(point.ID(), r.Peer.Addrs)
		}
	}
	a.points.Sightings().Record(ns, point.ID(), seen)
	return seen, nil
}

// logTwin logs that another host is registered under this host's peer ID. Others then find
// now the one and now the other.
func (a *asker) logTwin(point peer.ID, addrs []ma.Multiaddr) {
	if n, due := a.twins.Due(); due {
		logging.Log.Error("another host seems to use this host's key: it is registered with addresses that are not this host's", "peer", a.host.ID(), "addresses", addrs, "point", point, "times", n)
	}
}

// relayedRecord is how long a registration is in an answer, in bytes, unless it has many
// addresses.
const relayedRecord = 400

// answerLimit returns how many registrations to ask a point for at most so that the answer
// comes through.
func answerLimit(point *points.Point) int {
	budget := point.AnswerBudget()
	if budget == 0 {
		return MaxDiscoverLimit
	}
	return min(MaxDiscoverLimit, max(1, budget/relayedRecord))
}

// answers has memory for the answers that send parses.
var answers = sync.Pool{New: func() any { return new(wire.Answer) }}

// send sends a request to a point, which charges a price for it, and calls read with the
// answer, of which it parses at most size bytes and most registrations. The answer is valid
// until read returns.
func send(ctx context.Context, point *points.Point, r *wire.Request, price float64, size, most int, read func(*wire.Answer) error) error {
	return point.RoundTrip(ctx, points.Request{
		Append:    func(dst []byte, _ protocol.ID) []byte { return wire.Waku.AppendRequest(dst, r) },
		MaxAnswer: size,
		Urgent:    r.Kind == wire.Register,
		Price:     price,
		Read: func(frame []byte, _ protocol.ID) error {
			answer := answers.Get().(*wire.Answer)
			defer func() {
				clear(answer.Discover.Registrations) // parts of frame
				answers.Put(answer)
			}()
			if err := wire.Waku.ParseAnswer(answer, frame, most); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			return read(answer)
		},
	})
}

// answerSize returns the size of the longest answer to a DISCOVER with a limit, in
// bytes. The client does not read a longer one.
func answerSize(limit int) int {
	const perRegistration = peerrecord.MaxSize + MaxNamespaceSize + 32
	return min(wire.Waku.MaxAnswer, wire.Waku.MaxRequest+limit*perRegistration)
}

// maxInvalidRecords is how many invalid records an answer may have. To find out that a
// record is invalid may cost a signature check, and an honest point has made that check
// itself.
const maxInvalidRecords = 8

// accept returns the valid registrations of a point's answer, and counts the others. An
// answer with many invalid records violates the protocol. accept ends early with ctx,
// because a signature check may take milliseconds.
func (a *asker) accept(ctx context.Context, point peer.ID, ns string, answer []wire.Registration, ended *RequestEnded) ([]Registration, error) {
	type key struct {
		namespace string
		peer      peer.ID
	}
	seen := make(map[key]struct{}, len(answer))
	found := make([]Registration, 0, len(answer))
	records := make([]*peerrecord.Record, 0, len(answer)) // those of found
	broken := 0
	for i := range answer {
		r := &answer[i]
		if ns != "" && string(r.Namespace) != ns {
			ended.Invalid++
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("verify answer: %w", err)
		}
		record, cached, err := a.records.Open(point, r.Envelope)
		switch {
		case err != nil:
			ended.Invalid++
			if broken++; broken == maxInvalidRecords {
				return nil, fmt.Errorf("%w: answer has %d invalid records or more, the last because: %w", ErrProtocol, broken, err)
			}
			continue
		case cached:
			ended.Cached++
		default:
			ended.Checked++
		}
		name := ns
		if name == "" {
			name = string(r.Namespace)
		}
		k := key{name, record.ID}
		if _, twice := seen[k]; twice {
			continue
		}
		seen[k] = struct{}{}
		found = append(found, Registration{
			Namespace: name,
			Peer:      peer.AddrInfo{ID: record.ID},
			Seq:       record.Seq,
			TTL:       clampTTL(r.TTL, MaxTTL),
		})
		records = append(records, record)
	}
	setAddrs(found, records, peerrecord.ReachOf(a.remoteAddrs(point)))
	if ended.Invalid > 0 {
		logging.Log.Debug("rendezvous point returned invalid records", "point", point, "namespace", ns, "invalid", ended.Invalid, "accepted", len(found))
	}
	return found, nil
}

// remoteAddrs returns the addresses at which the host is connected to a point.
func (a *asker) remoteAddrs(point peer.ID) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, c := range a.host.Network().ConnsToPeer(point) {
		addrs = append(addrs, c.RemoteMultiaddr())
	}
	return addrs
}

// setAddrs gives each of found the addresses of its record that make sense within reach,
// in one allocation.
func setAddrs(found []Registration, records []*peerrecord.Record, reach peerrecord.Reach) {
	n := 0
	for _, r := range records {
		n += len(r.Addrs)
	}
	all := make([]ma.Multiaddr, 0, n)
	for i, r := range records {
		begin := len(all)
		all = r.AppendUsable(all, reach)
		found[i].Peer.Addrs = all[begin:len(all):len(all)]
	}
}

// judge says what the error of a request says about the point. To refuse this request is
// no fault of the point.
func judge(err error) points.Verdict {
	switch {
	case errors.Is(err, ErrInvalidNamespace), errors.Is(err, ErrInvalidPeerInfo),
		errors.Is(err, ErrInvalidTTL), errors.Is(err, ErrNotAuthorized):
		return points.Answered
	case errors.Is(err, ErrUnavailable):
		return points.TooMuch
	default:
		return points.Failed
	}
}

// notify puts a token into a channel that has room for one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
