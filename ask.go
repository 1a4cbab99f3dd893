package rendezvous

// Requests of a peer to rendezvous points: to one point, in the protocol that it speaks.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
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
	// Peer has at most 16 addresses of the record, the most widely reachable first. Left out are
	// those that nobody can dial or that have over 16 components, those beyond 4 KiB of memory,
	// private ones unless the point is on a private address, and loopback ones unless it is on
	// loopback. There may be none.
	Peer peer.AddrInfo
	// Seq is the sequence number of the peer's record.
	Seq uint64
	// TTL is how long the registration lives unless the peer refreshes it, in whole
	// seconds, and at most [MaxTTL] whatever the point says. Over [StandardID] it is at most
	// [MaxStandardTTL], and [DefaultStandardTTL] if the point does not say.
	TTL time.Duration
}

// asker sends the requests of one host to rendezvous points.
type asker struct {
	host       host.Host
	metrics    ClientMetricsTracer
	redundancy int // at how many points a host registers in a namespace and searches it
	points     *points.Set
	ttl        lifetimes // to register for, unless the caller says
	own        *peerrecord.HostRecord
	records    *peerrecord.Cache
	checks     *limit.Budget // of records, for each point
	silence    *points.Silence
	keyClash   keyClash

	maxNamespace int  // bytes, in the protocol that allows the most
	lasting      bool // whether some points may speak the standard protocol
}

func newAsker(h host.Host, config clientConfig) *asker {
	lasting := slices.ContainsFunc(config.protocols, lasts)
	a := &asker{
		host:       h,
		metrics:    config.metrics,
		redundancy: config.redundancy,
		points: points.New(points.Config{
			Host:       h,
			Protocols:  config.protocols,
			Service:    ServiceName,
			Named:      config.points,
			AnySpeaker: !config.named,
			Judge:      judge,
			Lasting:    lasting,
			WallClock:  config.wallClock,
			Interfaces: config.interfaces,
		}),
		ttl:     lifetimes{waku: DefaultTTL, standard: config.lasting},
		own:     peerrecord.NewHostRecord(h, config.addrs, config.interfaces),
		records: peerrecord.NewCache(),
		checks:  limit.NewBudget(checksPerSecond, checksAtOnce),
		silence: points.NewSilence(DefaultTTL),

		lasting: lasting,
	}
	a.records.Pay = a.payCheck
	for _, id := range config.protocols {
		a.maxNamespace = max(a.maxNamespace, dialectOf(id).MaxNamespace)
	}
	return a
}

// registerCall is a REGISTER and its outcome.
type registerCall struct {
	namespace string
	envelope  []byte // the host's current record
	ttl       lifetimes
	refresh   bool // whether these bytes are registered already

	granted  time.Duration
	sent     time.Time
	protocol protocol.ID // empty if there was no stream
	err      error
}

// registerOnce sends a REGISTER that is no refresh.
func (a *asker) registerOnce(ctx context.Context, point *points.Point, ns string, ttl time.Duration) (time.Duration, error) {
	if err := checkNamespace(ns, a.maxNamespace); err != nil {
		return 0, err
	}
	if ttl < 0 {
		return 0, refuse(pb.Message_E_INVALID_TTL, "ttl is negative")
	}
	envelope, err := a.own.Envelope()
	if err != nil {
		return 0, err
	}
	r := &registerCall{namespace: ns, envelope: envelope, ttl: lifetimes{ttl, ttl}}
	a.register(ctx, point, r)
	return r.granted, r.err
}

// register sends REGISTERs to a point, together.
func (a *asker) register(ctx context.Context, point *points.Point, all ...*registerCall) {
	requests := make([]points.Request, len(all))
	ended := make([]RequestEnded, len(all))
	for i, call := range all {
		ended[i] = RequestEnded{Type: RequestRegister, Point: point.ID()}
		requests[i] = a.registerMessage(call, &ended[i])
	}
	begun := time.Now()
	errs := point.RoundTrips(ctx, requests)
	for i, call := range all {
		e := &ended[i]
		e.Err, e.Duration = errs[i], time.Since(begun)
		if e.Err != nil {
			e.TTL = 0
		}
		call.granted, call.protocol, call.err = e.TTL, e.Protocol, e.Err
		if !errors.Is(e.Err, points.ErrNotAnswered) {
			a.metrics.RequestEnded(*e)
		}
	}
}

// registerMessage returns the request for a call, which records its outcome in ended.
func (a *asker) registerMessage(call *registerCall, ended *RequestEnded) points.Request {
	price := limit.Request
	if call.refresh {
		price = limit.Refresh
	}
	request := func(d *wire.Dialect) wire.Request {
		call.sent = time.Now()
		r := wire.Registration{Namespace: []byte(call.namespace), Envelope: call.envelope, TTL: wireSeconds(call.ttl.in(d))}
		if d == wire.Standard {
			r.Envelope = a.envelopeFor(ended.Point, call.envelope)
		}
		return wire.Request{Kind: wire.Register, Register: r}
	}
	return message(request, price, wire.Waku.MaxRequest, 0, ended, func(d *wire.Dialect, answer *wire.Answer) error {
		r := &answer.Register
		if answer.Kind != wire.RegisterResponse || !r.Present {
			return fmt.Errorf("%w: REGISTER was answered with %s", ErrProtocol, answer.Kind)
		}
		ended.TTL = grantedTTL(d, wireSeconds(call.ttl.in(d)), r.TTL)
		return statusError(r.Status, r.Text)
	})
}

// envelopeFor returns the host's record in the form that a point of the standard protocol
// accepts. envelope is the record in its usual form.
func (a *asker) envelopeFor(point peer.ID, envelope []byte) []byte {
	agent, err := a.host.Peerstore().Get(point, "AgentVersion")
	if name, ok := agent.(string); err != nil || !ok || !strings.HasPrefix(name, "rust-libp2p/") {
		return envelope
	}
	if other, err := a.own.EnvelopeOf(peerrecord.RoutingState); err == nil {
		return other
	}
	return envelope
}

// unregister tells a point that the host leaves a namespace, if the point's protocol has a
// message for that.
func (a *asker) unregister(ctx context.Context, point *points.Point, ns string) error {
	if err := checkNamespace(ns, a.maxNamespace); err != nil {
		return err
	}
	ended := RequestEnded{Type: RequestUnregister, Point: point.ID()}
	ended.Err = a.request(&ended, func() error {
		return point.Tell(ctx, func(dst []byte, id protocol.ID) []byte {
			ended.Protocol = id
			return dialectOf(id).AppendRequest(dst, &wire.Request{Kind: wire.Unregister, Unregister: []byte(ns)})
		})
	})
	a.metrics.RequestEnded(ended)
	return ended.Err
}

// request makes a request and measures how long it takes.
func (a *asker) request(ended *RequestEnded, do func() error) error {
	started := time.Now()
	defer func() { ended.Duration = time.Since(started) }()
	return do()
}

// page is an answer to DISCOVER.
type page struct {
	dialect *wire.Dialect
	found   []Registration // the valid ones; their addresses must not be modified
	got     int            // how many there are, valid or not
	cookie  []byte         // for the next page; empty if there is none
	size    int            // of all of them, in bytes
}

// discover sends a DISCOVER to a point. The cookie is left out if the point's protocol has none.
func (a *asker) discover(ctx context.Context, point *points.Point, ns string, cookie []byte, wanted int) (page, error) {
	if err := checkNamespaceSize(ns, a.maxNamespace); err != nil {
		return page{}, err
	}
	var p page
	limited := false
	request := func(*wire.Dialect) wire.Request {
		var asked int
		asked, limited = point.AnswerLimit(wanted) // there is a connection now
		return wire.Request{Kind: wire.Discover, Discover: wire.Query{Namespace: []byte(ns), Cookie: cookie, Limit: int64(asked)}}
	}
	ended := RequestEnded{Type: RequestDiscover, Point: point.ID()}
	ended.Err = a.request(&ended, func() error {
		return point.RoundTrip(ctx, message(request, limit.Request, answerSize(wanted), wanted, &ended, func(d *wire.Dialect, answer *wire.Answer) error {
			var err error
			p, err = a.readPage(ctx, d, answer, &ended, ns)
			p.size = answerBytes(answer.Discover.Registrations)
			return err
		}))
	})
	if limited && ctx.Err() == nil {
		point.LimitedAnswer(p.got, p.size, ended.Err != nil && judge(ended.Err) == points.Failed)
	}
	a.metrics.RequestEnded(ended)
	return p, ended.Err
}

func (a *asker) readPage(ctx context.Context, d *wire.Dialect, answer *wire.Answer, ended *RequestEnded, ns string) (page, error) {
	r := &answer.Discover
	if answer.Kind != wire.DiscoverResponse || !r.Present {
		return page{}, fmt.Errorf("%w: DISCOVER was answered with %s", ErrProtocol, answer.Kind)
	}
	p := page{dialect: d, got: len(r.Registrations)}
	if err := statusError(r.Status, r.Text); err != nil {
		if d == wire.Standard && len(ns) <= d.MaxNamespace && errors.Is(err, ErrInvalidNamespace) {
			return page{dialect: d}, nil // some points say so of a namespace without peers
		}
		return page{}, err
	}
	if d == wire.Standard {
		p.cookie = bytes.Clone(r.Cookie)
	}
	var err error
	p.found, err = a.accept(ctx, d, ended.Point, ns, r.Registrations, ended)
	return p, err
}

// answerBytes returns the size of registrations in an answer, in bytes.
func answerBytes(registrations []wire.Registration) (bytes int) {
	for i := range registrations {
		bytes += len(registrations[i].Namespace) + len(registrations[i].Envelope)
	}
	return bytes
}

// follow reads pages of at most wanted registrations, from where f is. It calls take with each
// page; take returns whether to go on.
func (a *asker) follow(ctx context.Context, point *points.Point, f *points.Follow, ns string, wanted int, take func(page) bool) error {
	return f.Read(wanted, func(cookie []byte) (points.Page, bool, error) {
		p, err := a.discover(ctx, point, ns, cookie, wanted)
		switch {
		case errors.Is(err, ErrInvalidCookie) && len(cookie) > 0:
			return points.Page{Unknown: true}, false, nil
		case err != nil:
			return points.Page{}, false, err
		}
		entries := make([]points.Entry, len(p.found))
		for i := range p.found {
			entries[i] = points.Entry{Namespace: p.found[i].Namespace, Peer: p.found[i].Peer.ID}
		}
		return points.Page{Found: entries, Got: p.got, Cookie: p.cookie}, !take(p), nil
	})
}

// discoverAll returns at most wanted registrations that a point has in a namespace.
func (a *asker) discoverAll(ctx context.Context, point *points.Point, ns string, wanted int) ([]Registration, error) {
	wanted = grantLimit(int64(wanted), MaxDiscoverLimit)
	if !a.lasting {
		p, err := a.discover(ctx, point, ns, nil, wanted)
		copyAddrs(p.found)
		return p.found, err
	}
	var found []Registration
	err := a.follow(ctx, point, point.FollowOnce(ns), ns, wanted, func(p page) bool {
		found = appendNewest(found, p.found)
		return len(found) < wanted
	})
	if err != nil {
		return nil, err
	}
	found = found[:min(len(found), wanted)]
	copyAddrs(found)
	return found, nil
}

// appendNewest appends registrations to found. A registration of a peer that is in found
// already replaces the one there.
func appendNewest(found, more []Registration) []Registration {
	if len(found) == 0 {
		return more
	}
	for _, r := range more {
		i := slices.IndexFunc(found, func(f Registration) bool { return f.Peer.ID == r.Peer.ID && f.Namespace == r.Namespace })
		if i >= 0 {
			found[i] = r
		} else {
			found = append(found, r)
		}
	}
	return found
}

// mostSeen is the most registrations that see can ask for.
const mostSeen = MaxDiscoverLimit

// errRemoved: the answer of a point is ignored.
var errRemoved = errors.New("the point was removed before it answered")

// see asks a point for the peers in a namespace and records them, without the host itself. It
// returns what all points together say of each of these peers. If all is true, these are the peers
// that the point is known to have, from this answer and earlier ones; otherwise they are a sample.
func (a *asker) see(ctx context.Context, point *points.Point, ns string, wanted int) (seen []points.Sighting, all bool, err error) {
	seen, all, err = a.read(ctx, point, ns, wanted)
	if err == nil && a.points.Removed(point.ID()) {
		return nil, false, errRemoved
	}
	return seen, all, err
}

// read is see, also for a point that was removed before it answered.
func (a *asker) read(ctx context.Context, point *points.Point, ns string, wanted int) (seen []points.Sighting, all bool, err error) {
	if !a.lasting {
		p, err := a.discover(ctx, point, ns, nil, wanted)
		if err != nil {
			return nil, false, err
		}
		return a.record(point, ns, p, nil), false, nil
	}
	f, err := point.Follow(ctx, ns)
	if err != nil {
		return nil, false, err
	}
	defer f.Done()
	read := 0
	err = a.follow(ctx, point, f, ns, wanted, func(p page) bool {
		seen = a.record(point, ns, p, f)
		all = p.dialect == wire.Standard
		read += len(p.found)
		return all && read < MaxDiscoverLimit
	})
	if err != nil || !all {
		return seen, false, err
	}
	if since := f.CompleteSince(); !since.IsZero() {
		a.points.Sightings().Complete(ns, point.ID(), since)
	}
	return a.points.Sightings().ReportedBy(ns, point.ID()), !a.points.Sightings().LeftOut(point.ID()), nil
}

// record records the peers on a page, without the host itself. It returns what all points
// together say of each. f is nil unless the point's list is followed.
func (a *asker) record(point *points.Point, ns string, p page, f *points.Follow) []points.Sighting {
	now := time.Now()
	seen := make([]points.Sighting, 0, len(p.found))
	for _, r := range p.found {
		if r.Peer.ID != a.host.ID() {
			seen = append(seen, points.Sighting{Peer: r.Peer, Seq: r.Seq, Until: now.Add(r.TTL)})
		} else if a.isKeyClash(p.dialect, f, r) {
			a.keyClash.log(a.host.ID(), point.ID(), r.Peer.Addrs)
		}
	}
	a.points.Sightings().Record(ns, point.ID(), seen)
	return seen
}

// isKeyClash reports whether a registration of this host's peer ID was made by another host with
// its key.
//
// Over the standard protocol, an old registration of this host may live for hours, at a point that
// takes no newer one. So the point must first have had the record that the host has now: what
// replaces that was registered later. A host that is not registered there cannot tell.
func (a *asker) isKeyClash(d *wire.Dialect, f *points.Follow, r Registration) bool {
	if d == wire.Waku {
		return a.own.Foreign(r.Peer.Addrs)
	}
	seq := a.own.Seq()
	if r.Seq == seq {
		f.SetSelf(seq)
		return false
	}
	return seq != 0 && f.HadSelf(seq) && a.own.Foreign(r.Peer.Addrs)
}

// keyClash is what was logged of other hosts with this host's key.
type keyClash struct {
	mu     sync.Mutex
	limit  logging.Limit
	logged []ma.Multiaddr // the addresses of the last one
}

// log logs once that another host with these addresses is registered under this host's peer ID.
// Other peers then find either of the two.
func (c *keyClash) log(self, point peer.ID, addrs []ma.Multiaddr) {
	if n, due := c.due(addrs); due {
		logging.Log.Error("another host seems to use this host's key: it is registered with addresses that are not this host's", "peer", self, "addresses", addrs, "point", point, "times", n)
	}
}

func (c *keyClash) due(addrs []ma.Multiaddr) (times int, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logged != nil && slices.EqualFunc(c.logged, addrs, ma.Multiaddr.Equal) {
		return 0, false
	}
	if times, due = c.limit.Due(); due {
		c.logged = slices.Clone(addrs)
	}
	return times, due
}

// answers has memory for the answers to messages.
var answers = sync.Pool{New: func() any { return new(wire.Answer) }}

// message returns a request in the protocol that the point speaks. price is what the point
// charges for it. read is called with the answer, which has at most size bytes, and of which at
// most wanted registrations are parsed. The answer is valid until read returns.
func message(request func(*wire.Dialect) wire.Request, price float64, size, wanted int, ended *RequestEnded, read func(*wire.Dialect, *wire.Answer) error) points.Request {
	return points.Request{
		Append: func(dst []byte, id protocol.ID) []byte {
			ended.Protocol = id
			r := request(dialectOf(id))
			return dialectOf(id).AppendRequest(dst, &r)
		},
		MaxAnswer: size,
		Urgent:    ended.Type == RequestRegister,
		Price:     price,
		Read: func(frame []byte, id protocol.ID) error {
			answer := answers.Get().(*wire.Answer)
			defer func() {
				registrations := answer.Discover.Registrations
				clear(registrations)
				*answer = wire.Answer{Discover: wire.DiscoverAnswer{Registrations: registrations[:0]}}
				answers.Put(answer) // without parts of frame
			}()
			d := dialectOf(id)
			if d == wire.Standard {
				wanted = MaxDiscoverLimit // the next cookie is after everything in this answer
			}
			if err := d.ParseAnswer(answer, frame, wanted); err != nil {
				return fmt.Errorf("parse answer: %w", err)
			}
			return read(d, answer)
		},
	}
}

// answerSize returns the size of the longest answer to a DISCOVER with a limit, in
// bytes. The client does not read a longer one.
func answerSize(limit int) int {
	const perRegistration = peerrecord.MaxSize + MaxNamespaceSize + 32
	return min(wire.Waku.MaxAnswer, wire.Waku.MaxRequest+limit*perRegistration)
}

// maxInvalidRecords is how many invalid records make an answer a violation of the protocol.
// Each may cost the client a signature check, and an honest point has made that check
// itself.
const maxInvalidRecords = 8

// acceptance is the memory for accepting an answer.
type acceptance struct {
	envelopes [][]byte
	records   []*peerrecord.CachedRecord // of envelopes; nil: not verified yet
	peers     []uint64                   // hashes of the peers found
	table     []uint64                   // a hash table of peers; 0 is a free place
}

var acceptances = sync.Pool{New: func() any { return new(acceptance) }}

func (m *acceptance) release() {
	clear(m.envelopes)
	clear(m.records)
	m.envelopes, m.records, m.peers = m.envelopes[:0], m.records[:0], m.peers[:0]
	acceptances.Put(m)
}

// repeats reports whether a peer was found twice. A collision of hashes also counts.
func (m *acceptance) repeats() bool {
	size := 4 << bits.Len(uint(len(m.peers))) // so that at most a quarter is used
	m.table = slices.Grow(m.table[:0], size)[:size]
	clear(m.table)
	for _, hash := range m.peers {
		hash |= 1 << 63 // a place in use is not 0
		at := hash % uint64(size)
		for ; m.table[at] != 0; at = (at + 1) % uint64(size) {
			if m.table[at] == hash {
				return true
			}
		}
		m.table[at] = hash
	}
	return false
}

// What the records of one point's answers may cost the client, in checks of usual ones with
// Ed25519. It is enough for ever new samples of 1000 peers, and for a first one with keys of any
// usual kind. The check of a P-521 signature takes as long as fifty others, and a point can make
// a new record for each.
const (
	checksPerSecond = 1000
	checksAtOnce    = 4000
)

var errChecks = errors.New("records of the point take too long to check")

// payCheck pays for the check of a record of size bytes that a point has sent.
func (a *asker) payCheck(point peer.ID, key crypto.PubKey, size int) error {
	if !a.checks.Take(point, limit.Origin{}, limit.RecordCheck(key, size), time.Now()) {
		return errChecks
	}
	return nil
}

// accept returns the valid registrations of a point's answer, and counts the others. An
// answer with many invalid records violates the protocol. accept ends early with ctx,
// because a signature check may take milliseconds. The addresses are those of the cache and
// must not be modified.
func (a *asker) accept(ctx context.Context, d *wire.Dialect, point peer.ID, ns string, answer []wire.Registration, ended *RequestEnded) ([]Registration, error) {
	m := acceptances.Get().(*acceptance)
	defer m.release()
	for i := range answer {
		m.envelopes = append(m.envelopes, answer[i].Envelope)
	}
	m.records = a.records.Find(m.records, point, m.envelopes)
	found := make([]Registration, 0, len(answer))
	broken, reach := 0, peerrecord.ReachOf(a.remoteAddrs(point))
	for i := range answer {
		r := &answer[i]
		if !inNamespace(d, r, ns) {
			ended.Invalid++
			continue
		}
		record, cached := m.records[i], true
		if record == nil {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("verify answer: %w", err)
			}
			var err error
			record, cached, err = a.records.Open(point, r.Envelope)
			switch {
			case errors.Is(err, errChecks):
				ended.Invalid++
				continue
			case err != nil:
				ended.Invalid++
				if broken++; broken == maxInvalidRecords {
					return nil, fmt.Errorf("%w: answer has %d invalid records or more, the last because: %w", ErrProtocol, broken, err)
				}
				continue
			}
		}
		if cached {
			ended.Cached++
		} else {
			ended.Checked++
		}
		name := ns
		if name == "" {
			name = string(r.Namespace)
		}
		m.peers = append(m.peers, record.IDHash)
		found = append(found, Registration{
			Namespace: name,
			Peer:      peer.AddrInfo{ID: record.ID, Addrs: record.Usable(reach)},
			Seq:       record.Seq,
			TTL:       statedTTL(d, r.TTL),
		})
	}
	// A map of the peers of every answer would cost a tenth of a search, both ends together,
	// and sorting them a fiftieth (BenchmarkAccept). Hardly any answer has a peer twice.
	if m.repeats() {
		found = withoutRepeats(found)
	}
	if ended.Invalid > 0 {
		logging.Log.Debug("rendezvous point returned invalid records", "point", point, "namespace", ns, "invalid", ended.Invalid, "accepted", len(found))
	}
	return found, nil
}

// inNamespace reports whether a registration is in a namespace, or in any that there can be if
// ns is empty.
func inNamespace(d *wire.Dialect, r *wire.Registration, ns string) bool {
	if ns == "" {
		return len(r.Namespace) <= d.MaxNamespace
	}
	leftOut := d == wire.Standard && len(r.Namespace) == 0 // as some points do
	return leftOut || string(r.Namespace) == ns
}

// withoutRepeats returns found without registrations that it has already.
func withoutRepeats(found []Registration) []Registration {
	seen := make(map[points.Entry]struct{}, len(found))
	return slices.DeleteFunc(found, func(r Registration) bool {
		e := points.Entry{Namespace: r.Namespace, Peer: r.Peer.ID}
		_, twice := seen[e]
		seen[e] = struct{}{}
		return twice
	})
}

// remoteAddrs returns the addresses at which the host is connected to a point.
func (a *asker) remoteAddrs(point peer.ID) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, c := range a.host.Network().ConnsToPeer(point) {
		addrs = append(addrs, c.RemoteMultiaddr())
	}
	return addrs
}

// copyAddrs gives each of found a copy of its addresses, all in one allocation.
func copyAddrs(found []Registration) {
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

// judge says what the error of a request means for the point. A point that refuses a
// request has not failed.
func judge(err error) points.Verdict {
	switch {
	case errors.Is(err, ErrInvalidNamespace), errors.Is(err, ErrInvalidPeerInfo),
		errors.Is(err, ErrInvalidTTL), errors.Is(err, ErrInvalidCookie), errors.Is(err, ErrNotAuthorized):
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
