package rendezvous

// The client of /rendezvous/1.0.0 with points that do as those of other libraries do. Their
// answers are written here by hand, so that they do not depend on the code under test.

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/points"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// habits are what points of other libraries do differently. The zero value is a point that
// does what the specification says.
type habits struct {
	zerosLeftOut   bool          // canvas-js, berty
	nsLeftOut      bool          // waku-org, berty
	ttlLeftOut     bool          // nobody known, but the field is optional
	noCookie       bool          // where the namespace is empty: waku-org, berty
	constantCookie bool          // the same registrations for it, again and again
	minTTL         time.Duration // rust
	unknownInvalid bool          // E_INVALID_NAMESPACE for a namespace without registrations
	resetsAtEOF    bool          // waku-org, berty
	oneRequest     bool          // each stream is for one: rust
	forgetsCookies bool          // says so once after a restart; else it takes them for its own
	ofRust         bool          // refuses the usual kind of record
	endless        bool          // always more
	newestFirst    bool          // at most 64, and the cookie is for the oldest of these: canvas-js
}

// otherPoint is a point of another library: it hands out registrations in their order.
type otherPoint struct {
	t      testing.TB
	host   host.Host
	habits habits

	mu       sync.Mutex
	counter  uint64
	valid    uint64 // cookies below are from before a restart
	all      []otherRegistration
	requests []wire.Request
	cookies  []string // of the DISCOVERs
	extra    func() otherRegistration
}

type otherRegistration struct {
	id       uint64
	ns       string
	peer     peer.ID
	envelope []byte
	ttl      int64
}

func newOtherPoint(t testing.TB, h host.Host, does habits) *otherPoint {
	t.Helper()
	p := &otherPoint{t: t, host: h, habits: does}
	p.serve(StandardID)
	return p
}

func (p *otherPoint) serve(id protocol.ID) { p.host.SetStreamHandler(id, p.handle) }

func (p *otherPoint) handle(st network.Stream) {
	r := bufio.NewReader(st)
	for {
		frame, err := wire.ReadFrame(r, nil, 16<<10)
		if err != nil {
			if p.habits.resetsAtEOF {
				_ = st.Reset()
			} else {
				_ = st.Close()
			}
			return
		}
		var request wire.Request
		if wire.Standard.ParseRequest(&request, frame) != nil {
			_ = st.Reset()
			return
		}
		if answer := p.answer(st.Conn().RemotePeer(), &request); answer != nil {
			_, _ = st.Write(protowire.AppendBytes(nil, answer))
		}
		if p.habits.oneRequest {
			_ = st.Close()
			return
		}
	}
}

func (p *otherPoint) answer(from peer.ID, r *wire.Request) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, *r)
	switch r.Kind {
	case wire.Register:
		return p.register(from, &r.Register)
	case wire.Unregister:
		p.remove(string(r.Unregister), from)
		return nil
	case wire.Discover:
		p.cookies = append(p.cookies, string(r.Discover.Cookie))
		return p.discover(&r.Discover)
	default:
		p.t.Errorf("a client sent %s", r.Kind)
		return nil
	}
}

func (p *otherPoint) remove(ns string, id peer.ID) {
	p.all = slices.DeleteFunc(p.all, func(o otherRegistration) bool { return o.ns == ns && o.peer == id })
}

func (p *otherPoint) register(from peer.ID, r *wire.Registration) []byte {
	ttl := r.TTL
	if ttl == 0 {
		ttl = 7200
	}
	kind := peerrecord.Usual
	if p.habits.ofRust {
		kind = peerrecord.RoutingState
	}
	if _, err := peerrecord.OpenPaid(r.Envelope, from, kind, nil); err != nil {
		return p.registered(101, 0)
	}
	if time.Duration(ttl)*time.Second < p.habits.minTTL || ttl > 72*3600 {
		return p.registered(102, 0)
	}
	p.remove(string(r.Namespace), from)
	p.add(otherRegistration{ns: string(r.Namespace), peer: from, envelope: slices.Clone(r.Envelope), ttl: ttl})
	return p.registered(0, ttl)
}

func (p *otherPoint) add(o otherRegistration) {
	p.counter++
	o.id = p.counter
	p.all = append(p.all, o)
}

// visit registers a peer that is not there.
func (p *otherPoint) visit(ns string, envelope []byte) peer.ID {
	p.t.Helper()
	record, err := peerrecord.OpenPaid(envelope, "", peerrecord.KindOf(envelope), nil)
	require.NoError(p.t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(ns, record.ID)
	p.add(otherRegistration{ns: ns, peer: record.ID, envelope: envelope, ttl: 7200})
	return record.ID
}

// restart makes the point forget everything.
func (p *otherPoint) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = nil
	if p.habits.forgetsCookies {
		p.valid = p.counter + 1
		p.counter += 1000
	} else {
		p.counter = 0
	}
}

// refuse makes the point refuse every REGISTER, or not any more.
func (p *otherPoint) refuse(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.habits.minTTL = 0; all {
		p.habits.minTTL = MaxStandardTTL + time.Hour
	}
}

// since returns the requests of a kind, and forgets all.
func (p *otherPoint) since(kind wire.Kind) (of []wire.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if r.Kind == kind {
			of = append(of, r)
		}
	}
	p.requests, p.cookies = nil, nil
	return of
}

// has reports whether a peer is registered.
func (p *otherPoint) has(ns string, id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.all, func(o otherRegistration) bool { return o.ns == ns && o.peer == id })
}

func (p *otherPoint) varint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 && p.habits.zerosLeftOut {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func bytesField(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func (p *otherPoint) message(typ uint64, field protowire.Number, part []byte) []byte {
	return bytesField(p.varint(nil, 1, typ), field, part)
}

func (p *otherPoint) registered(status uint64, ttl int64) []byte {
	part := p.varint(nil, 1, status)
	if status != 0 {
		return p.message(1, 3, bytesField(part, 2, []byte("no")))
	}
	return p.message(1, 3, p.varint(part, 3, uint64(ttl)))
}

func (p *otherPoint) discover(q *wire.Query) []byte {
	if p.extra != nil {
		p.add(p.extra())
	}
	var after uint64
	if len(q.Cookie) >= 8 && !p.habits.constantCookie {
		after = binary.BigEndian.Uint64(q.Cookie)
		if after < p.valid {
			return p.message(4, 6, bytesField(p.varint(nil, 3, 103), 4, []byte("bad cookie")))
		}
	}
	most, all := 100, p.all
	if p.habits.newestFirst {
		most, all = 64, slices.Clone(p.all)
		slices.Reverse(all)
	}
	limit := int(q.Limit)
	if limit == 0 || limit > most {
		limit = most
	}
	var part []byte
	found, known := 0, false
	last := after
	for _, o := range all {
		known = known || o.ns == string(q.Namespace)
		if q.Namespace != nil && o.ns != string(q.Namespace) || o.id <= after || found == limit {
			continue
		}
		found++
		last = o.id
		part = bytesField(part, 1, p.registration(o))
	}
	if p.habits.endless {
		last = after + 1
	}
	if !known && p.habits.unknownInvalid {
		return p.message(4, 6, bytesField(p.varint(nil, 3, 100), 4, []byte("unknown namespace")))
	}
	if p.habits.endless {
		part = nil
		for _, o := range p.all {
			part = bytesField(part, 1, p.registration(o))
		}
	}
	if p.habits.constantCookie {
		last = 1 << 60
	}
	if !p.habits.noCookie {
		part = bytesField(part, 2, append(binary.BigEndian.AppendUint64(nil, last), q.Namespace...))
	}
	return p.message(4, 6, p.varint(part, 3, 0))
}

func (p *otherPoint) registration(o otherRegistration) (b []byte) {
	if !p.habits.nsLeftOut {
		b = bytesField(b, 1, []byte(o.ns))
	}
	b = bytesField(b, 2, o.envelope)
	if !p.habits.ttlLeftOut {
		b = p.varint(b, 3, uint64(o.ttl))
	}
	return b
}

// others are points of other libraries.
var others = map[string]habits{
	"specification":   {},
	"waku-org":        {zerosLeftOut: true, nsLeftOut: true, resetsAtEOF: true, forgetsCookies: true},
	"canvas-js":       {zerosLeftOut: true, newestFirst: true},
	"rust":            {minTTL: 2 * time.Hour, oneRequest: true, forgetsCookies: true, ofRust: true},
	"no cookie":       {noCookie: true, ttlLeftOut: true, nsLeftOut: true},
	"constant cookie": {constantCookie: true},
	"invalid if none": {unknownInvalid: true, zerosLeftOut: true},
}

// onBusyMachine is how long tests in real time wait for what takes a moment on an idle machine.
const onBusyMachine = 2 * time.Minute

// newRecord returns a new peer's record of a kind.
func newRecord(t testing.TB, kind peerrecord.Kind) []byte {
	t.Helper()
	key, id := newKey(t, crypto.Ed25519)
	if kind == peerrecord.Usual {
		return seal(t, key, id, addr)
	}
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = id, []ma.Multiaddr{ma.StringCast(addr)}
	return sealRecord(t, key, &routingState{*rec})
}

// TestOtherPoints: the client registers, finds peers with records of both kinds, follows who
// comes and goes, and leaves, at points of all libraries.
func TestOtherPoints(t *testing.T) {
	t.Parallel()
	for name, does := range others {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var opts []libp2p.Option
			if does.ofRust {
				opts = append(opts, libp2p.UserAgent("rust-libp2p/0.45.0"))
			}
			point := newOtherPoint(t, newHost(t, opts...), does)
			h := newHost(t)
			c := NewClient(h, WithPoints(info(point.host)), WithProtocol(StandardID))

			found, err := c.Discover(t.Context(), point.host.ID(), "n", 0)
			require.NoError(t, err)
			require.Empty(t, found)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			states, err := c.KeepRegistered(ctx, "n")
			require.NoError(t, err)
			state := until(t, states, onBusyMachine, State.Findable)
			require.Equal(t, StandardID, state.Namespaces[0].Points[0].Protocol)
			require.Greater(t, time.Until(state.Namespaces[0].Points[0].Until), time.Hour)
			require.True(t, point.has("n", h.ID()))

			watching, stop := context.WithCancel(t.Context())
			events, err := c.Watch(watching, "n")
			require.NoError(t, err)
			usual := point.visit("n", newRecord(t, peerrecord.Usual))
			rust := point.visit("n", newRecord(t, peerrecord.RoutingState))
			joined := []peer.ID{nextEvent(t, events, Joined), nextEvent(t, events, Joined)}
			require.ElementsMatch(t, []peer.ID{usual, rust}, joined)

			require.ElementsMatch(t, []peer.ID{usual, rust}, drain(t, c, "n"))
			require.ElementsMatch(t, []peer.ID{usual, rust}, drain(t, c, "n"), "an answer without news is no answer that nobody is there")
			found, err = c.Discover(t.Context(), point.host.ID(), "n", 0)
			require.NoError(t, err)
			require.Len(t, found, 3, "with the host itself")
			for _, r := range found {
				require.Equal(t, "n", r.Namespace)
				require.Equal(t, 2*time.Hour, r.TTL)
			}
			stop()
			for range events { // until it has ended
			}

			cancel()
			for range states { // until it has ended
			}
			require.False(t, point.has("n", h.ID()), "unregistered")
		})
	}
}

// nextEvent returns the peer of the next event.
func nextEvent(t testing.TB, events <-chan Event, want EventType) peer.ID {
	t.Helper()
	select {
	case e := <-events:
		require.Equal(t, want, e.Type)
		return e.Peer.ID
	case <-time.After(onBusyMachine):
		require.Fail(t, "no event")
		return ""
	}
}

// allPending returns the events that a channel has.
func allPending(events <-chan Event) (all []Event) {
	for {
		next := pending(events)
		if len(next) == 0 {
			return all
		}
		all = append(all, next...)
	}
}

// TestForeignID: a point that speaks the standard protocol under an ID of its own.
func TestForeignID(t *testing.T) {
	const canvas = "/canvas/rendezvous/1.0.0"
	point := newOtherPoint(t, newHost(t), others["canvas-js"])
	point.host.RemoveStreamHandler(StandardID)
	point.serve(canvas)
	h := newHost(t)
	connect(t, h, point.host)
	c := NewClient(h, WithProtocol(RendezvousID_v001, StandardID, canvas))
	granted, err := c.Register(t.Context(), point.host.ID(), "n", 0)
	require.NoError(t, err)
	require.Equal(t, 2*time.Hour, granted)
	require.True(t, point.has("n", h.ID()))
	id := point.visit("n", newRecord(t, peerrecord.Usual))
	require.Equal(t, []peer.ID{id}, drain(t, c, "n"), "a point is found by any of the IDs")
}

// TestMinTTL: what a point refuses is the caller's error, and what it grants is believed only
// as far as it was asked for.
func TestMinTTL(t *testing.T) {
	point := newOtherPoint(t, newHost(t), habits{minTTL: 2 * time.Hour})
	h := newHost(t)
	c := NewClient(h, WithPoints(info(point.host)), WithProtocol(StandardID))
	_, err := c.Register(t.Context(), point.host.ID(), "n", time.Hour)
	require.ErrorIs(t, err, ErrInvalidTTL)
	granted, err := c.Register(t.Context(), point.host.ID(), "n", 3*time.Hour)
	require.NoError(t, err)
	require.Equal(t, 3*time.Hour, granted)
	_, err = c.Register(t.Context(), point.host.ID(), string(make([]byte, 256)), 0)
	require.ErrorIs(t, err, ErrInvalidNamespace, "the standard protocol has 255 bytes")

	require.Equal(t, 2*time.Hour, grantedTTL(wire.Standard, 7200, 1<<62))
	require.Equal(t, time.Minute, grantedTTL(wire.Standard, 7200, 60))
	require.Equal(t, 2*time.Hour, grantedTTL(wire.Standard, 0, 0))
	require.Equal(t, 72*time.Hour, grantedTTL(wire.Standard, 0, 1<<62))
	require.Equal(t, 72*time.Hour, statedTTL(wire.Standard, 1<<62))
	require.Equal(t, 2*time.Hour, statedTTL(wire.Standard, 0))
	require.Equal(t, MaxTTL, statedTTL(wire.Waku, 7200))
}

// TestCookies: the client reads a long list page by page, and then only what is new.
func TestCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], others["waku-org"])
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		for _, e := range sealedRecords(t, 250) { // three pages
			point.visit("n", e)
		}
		ctx, cancel := context.WithCancel(t.Context())
		events, err := c.Watch(ctx, "n")
		require.NoError(t, err)
		defer func() {
			cancel()
			for range events { // until it has ended
			}
		}()
		time.Sleep(2 * time.Second)
		require.Len(t, allPending(events), 250)
		before := len(point.since(wire.Discover))
		require.LessOrEqual(t, before, 6, "three pages, the end, and what was asked after that")

		time.Sleep(30 * time.Second)
		point.mu.Lock()
		require.NotContains(t, point.cookies, "", "it asks for what is new")
		point.mu.Unlock()
		point.since(wire.Discover)
		point.visit("n", newRecord(t, peerrecord.Usual))
		time.Sleep(9 * time.Second)
		require.Len(t, allPending(events), 1)

		point.mu.Lock()
		gone := point.all[7].peer
		point.remove("n", gone)
		point.mu.Unlock()
		time.Sleep(70 * time.Second)
		require.Equal(t, []Event{{Type: Left, Peer: peer.AddrInfo{ID: gone}}}, allPending(events), "who unregisters has left")
	})
}

// TestPointThatRestarts: a point that was restarted is asked for everything, whether it says
// that it does not know the cookies of before or takes them for its own.
func TestPointThatRestarts(t *testing.T) {
	for _, name := range []string{"waku-org", "canvas-js"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 2)
				point := newOtherPoint(t, hosts[0], others[name])
				c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
				for _, e := range sealedRecords(t, 10) {
					point.visit("n", e)
				}
				require.Len(t, drain(t, c, "n"), 10)
				time.Sleep(3 * time.Second)
				point.restart()
				require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
				id := point.visit("n", newRecord(t, peerrecord.Usual))
				time.Sleep(time.Second)
				require.Contains(t, drain(t, c, "n"), id)
				time.Sleep(3 * time.Second)
				require.Equal(t, []peer.ID{id}, drain(t, c, "n"), "what the point had before is taken back")
			})
		})
	}
}

// TestNewestFirst: canvas-js hands out the newest 64, and its cookies lead back to them. A peer
// that is not among these may still be there, so Watch does not report that it left.
func TestNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], others["canvas-js"])
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		ctx, cancel := context.WithCancel(t.Context())
		events, err := c.Watch(ctx, "n")
		require.NoError(t, err)
		defer func() {
			cancel()
			for range events { // until it has ended
			}
		}()
		for i, e := range sealedRecords(t, 100) {
			point.visit("n", e)
			if i%20 == 19 {
				time.Sleep(10 * time.Second)
			}
		}
		require.Len(t, allPending(events), 100)
		point.since(wire.Discover)
		time.Sleep(5 * time.Minute)
		require.Empty(t, allPending(events))
		require.LessOrEqual(t, len(point.since(wire.Discover)), 70, "one or two requests every eight seconds")

		point.mu.Lock()
		gone := point.all[99].peer
		point.all = point.all[80:99]
		point.mu.Unlock()
		time.Sleep(2 * time.Minute)
		left := allPending(events)
		require.Len(t, left, 81, "what it has is fewer than it would hand out")
		require.True(t, slices.ContainsFunc(left, func(e Event) bool { return e.Type == Left && e.Peer.ID == gone }))
	})
}

// TestEndlessPoint: a point whose list never ends costs no more than a few requests, and the
// peers that it returns are found.
func TestEndlessPoint(t *testing.T) {
	for name, row := range map[string]struct {
		does     habits
		requests int // for a search
	}{
		"the same again":                   {habits{endless: true}, 2},
		"a constant cookie":                {habits{constantCookie: true}, 2},
		"ever new peers with new cookies":  {habits{}, points.MaxPages},
		"ever new peers without a cookie":  {habits{noCookie: true}, 1},
		"cookies that it does not know":    {habits{forgetsCookies: true}, 3},
		"an unknown namespace, for itself": {habits{unknownInvalid: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 2)
				point := newOtherPoint(t, hosts[0], row.does)
				c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
				ns := "n"
				switch {
				case row.does == habits{}, row.does.noCookie:
					records := sealedRecords(t, 40)
					point.extra = func() otherRegistration {
						next := records[0]
						records = records[1:]
						r, err := peerrecord.Open(next, "")
						if err != nil {
							t.Error(err)
						}
						return otherRegistration{ns: "n", peer: r.ID, envelope: next, ttl: 7200}
					}
				case row.does.unknownInvalid:
					ns = "unknown"
				}
				point.visit("n", newRecord(t, peerrecord.Usual))
				if row.does.forgetsCookies {
					point.valid = 1 << 60
				}
				found := drain(t, c, ns)
				require.Equal(t, ns == "n", len(found) > 0)
				require.Len(t, point.since(wire.Discover), row.requests)
				time.Sleep(minSearchInterval)
				require.GreaterOrEqual(t, len(drain(t, c, ns)), len(found))
				require.LessOrEqual(t, len(point.since(wire.Discover)), points.MaxPages)
			})
		})
	}
}

// TestStandardRefreshes: a registration of hours is refreshed within minutes, and as often as
// one of 20 seconds while the host searches the namespace.
func TestStandardRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], habits{})
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID), WithStandardTTL(3*time.Hour))
		keep(t, c)
		time.Sleep(time.Second)
		first := point.since(wire.Register)
		require.Len(t, first, 1)
		require.EqualValues(t, 3*3600, first[0].Register.TTL)
		time.Sleep(time.Hour)
		calm := len(point.since(wire.Register))
		require.InDelta(t, time.Hour/(calmTTL*3/5), calm, 4)

		searching, stop := context.WithCancel(t.Context())
		events, err := c.Watch(searching, "n")
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 10*time.Minute/points.LookInterval, len(point.since(wire.Register)), 5)
		stop()
		for range events { // until it has ended
		}
		time.Sleep(time.Minute)
		point.since(wire.Register)
		time.Sleep(time.Hour)
		require.InDelta(t, calm, len(point.since(wire.Register)), 2)
	})
}

// TestShortGrant: a point that grants less than was asked for is refreshed within that.
func TestShortGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], habits{})
		hosts[0].SetStreamHandler(StandardID, func(st network.Stream) {
			_, _ = wire.ReadFrame(bufio.NewReader(st), nil, 16<<10)
			point.mu.Lock()
			defer point.mu.Unlock()
			point.requests = append(point.requests, wire.Request{Kind: wire.Register})
			_, _ = st.Write(protowire.AppendBytes(nil, point.registered(0, 60)))
			_ = st.Close()
		})
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		keep(t, c)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 600/36, len(point.since(wire.Register)), 5)
	})
}

// TestLostConnection: when the connection to the point is lost, the host registers again, as
// the point may have been restarted.
func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], habits{})
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		keep(t, c)
		time.Sleep(time.Minute)
		require.True(t, point.has("n", hosts[1].ID()))
		point.restart()
		require.NoError(t, hosts[0].Network().ClosePeer(hosts[1].ID()))
		time.Sleep(3 * time.Second)
		require.True(t, point.has("n", hosts[1].ID()))
	})
}

// TestClientUnregisters: a host is no longer registered a moment after KeepRegistered or Advertise
// ends, whatever the point does. While the other one goes on, it stays registered.
func TestClientUnregisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], others["waku-org"])
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		kept, endKept := context.WithCancel(t.Context())
		states, err := c.KeepRegistered(kept, "n")
		require.NoError(t, err)
		advertised, endAdvertised := context.WithCancel(t.Context())
		next, err := c.Advertise(advertised, "n")
		require.NoError(t, err)
		require.Greater(t, next, time.Minute)
		require.True(t, point.has("n", hosts[1].ID()))

		endKept()
		for range states { // until it has ended
		}
		require.True(t, point.has("n", hosts[1].ID()), "it is advertised still")
		endAdvertised()
		time.Sleep(time.Second)
		require.False(t, point.has("n", hosts[1].ID()))

		// Again at once: what is sent last counts.
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := c.Advertise(ctx, "n")
			require.NoError(t, err)
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err = c.Advertise(ctx, "n")
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.True(t, point.has("n", hosts[1].ID()))

		// A point that does not answer any more.
		hosts[0].SetStreamHandler(StandardID, func(network.Stream) {})
		states, err = c.KeepRegistered(ctx, "n")
		require.NoError(t, err)
		begun := time.Now()
		cancel()
		for range states { // until it has ended
		}
		require.LessOrEqual(t, time.Since(begun), unregisterTimeout+time.Second)
		time.Sleep(2 * unregisterTimeout) // nobody waits for the end of what Advertise started
		c.registrar.mu.Lock()
		defer c.registrar.mu.Unlock()
		require.Empty(t, c.registrar.leaving)
	})
}

// TestNextCallUnregisters: a call that follows another one at once takes its registrations over. It
// unregisters at its end wherever the host is registered still, also if it has not registered
// itself, or no longer uses the point.
func TestNextCallUnregisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		first, second := newOtherPoint(t, hosts[0], habits{}), newOtherPoint(t, hosts[1], habits{})
		h := hosts[2]
		c := NewClient(h, WithPoints(info(first.host)), WithProtocol(StandardID))
		r := c.registrar
		require.NoError(t, r.lock())
		u := r.acquire(t.Context(), "n")
		r.mu.Unlock()
		// next replaces the last user of the namespace by another one.
		next := func() {
			t.Helper()
			events, err := r.points.Listen(r.wake)
			require.NoError(t, err)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.release(u)
			r.events = events
			u = r.acquire(t.Context(), "n")
		}
		end := func() {
			t.Helper()
			r.mu.Lock()
			ending := r.release(u)
			r.mu.Unlock()
			for _, ended := range ending {
				<-ended
			}
		}
		_, err := u.keeper.ask(t.Context())
		require.NoError(t, err)
		require.True(t, first.has("n", h.ID()))

		first.refuse(true)
		for range 3 { // none of which registers
			next()
		}
		_, err = u.keeper.ask(t.Context())
		require.Error(t, err)
		require.True(t, first.has("n", h.ID()))
		require.True(t, u.keeper.registrations.At(first.host.ID()).MayLive(), "and says so")
		end()
		require.False(t, first.has("n", h.ID()), "the last one has unregistered")

		first.refuse(false)
		require.NoError(t, r.lock())
		u = r.acquire(t.Context(), "n")
		r.mu.Unlock()
		require.False(t, u.keeper.registrations.At(first.host.ID()).MayLive())
		_, err = u.keeper.ask(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.SetPoints(info(second.host)))
		next()
		_, err = u.keeper.ask(t.Context())
		require.NoError(t, err)
		require.True(t, first.has("n", h.ID()))
		require.True(t, second.has("n", h.ID()))
		end()
		require.False(t, first.has("n", h.ID()), "a point that is not used any more")
		require.False(t, second.has("n", h.ID()))
		require.Empty(t, r.leaving)
	})
}

// TestManyUnregistrations: leaving many namespaces at once takes no longer than
// leaving one.
func TestManyUnregistrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := newOtherPoint(t, hosts[0], others["canvas-js"])
		c := NewClient(hosts[1], WithPoints(info(hosts[0])), WithProtocol(StandardID))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		states, err := c.KeepRegistered(ctx, namespaces(50)...)
		require.NoError(t, err)
		until(t, states, 20*time.Second, State.Findable)
		cancel()
		for range states { // until it has ended
		}
		point.mu.Lock()
		defer point.mu.Unlock()
		require.Empty(t, point.all)
	})
}

// TestClientOfBothProtocols: with each point, the client speaks the first of its protocols that the
// point has, and uses what points of either protocol say.
func TestClientOfBothProtocols(t *testing.T) {
	standard := newOtherPoint(t, newHost(t), others["waku-org"])
	old, storage := newHost(t), testStorage(t)
	startPoint(t, old, storage)
	both := newHost(t)
	startPoint(t, both, testStorage(t), WithStandardProtocol(0, 0))
	named := WithPoints(info(standard.host), info(old), info(both))
	h := newHost(t)
	c := NewClient(h, named, WithRedundancy(3), WithProtocol(StandardID, RendezvousID_v001))
	state := until(t, keep(t, c), onBusyMachine, func(s State) bool {
		return len(s.Namespaces[0].Points) == 3 && !slices.ContainsFunc(s.Namespaces[0].Points, func(p PointState) bool { return p.Until.IsZero() })
	})
	spoken := make(map[peer.ID]protocol.ID)
	for _, p := range state.Namespaces[0].Points {
		spoken[p.Point] = p.Protocol
	}
	require.Equal(t, map[peer.ID]protocol.ID{
		standard.host.ID(): StandardID,
		old.ID():           RendezvousID_v001,
		both.ID():          StandardID,
	}, spoken)
	require.Equal(t, 1, live(t, storage, "n"))

	visit(t, storage, "n", 3)
	there := standard.visit("n", newRecord(t, peerrecord.Usual))
	found := drain(t, c, "n", discovery.Limit(10))
	require.Len(t, found, 4)
	require.Contains(t, found, there)
}

// TestOwnPointOverStandard: at a point of this library, a peer registered over one protocol is
// found over the other for as long as it is there, and gone at once when it leaves.
func TestOwnPointOverStandard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 4)
		startPoint(t, hosts[0], testStorage(t), WithStandardProtocol(0, 0))
		named := WithPoints(info(hosts[0]))
		speaks := []*Client{
			1: NewClient(hosts[1], named),
			2: NewClient(hosts[2], named, WithProtocol(StandardID)),
			3: NewClient(hosts[3], named, WithProtocol(StandardID)),
		}
		ends := make([]func(), 4)
		for i := 1; i <= 3; i++ {
			ctx, cancel := context.WithCancel(t.Context())
			states, err := speaks[i].KeepRegistered(ctx, "n")
			require.NoError(t, err)
			ends[i] = func() {
				cancel()
				for range states { // until it has ended
				}
			}
		}
		expect := func(of int, want ...int) {
			t.Helper()
			var ids []peer.ID
			for _, i := range want {
				ids = append(ids, hosts[i].ID())
			}
			require.ElementsMatch(t, ids, drain(t, speaks[of], "n"))
		}
		for range 3 {
			time.Sleep(10 * time.Minute)
			expect(1, 2, 3)
			expect(2, 1, 3)
			expect(3, 1, 2)
		}
		ends[3]()
		found, err := speaks[1].Discover(t.Context(), hosts[0].ID(), "n", 0)
		require.NoError(t, err)
		require.Len(t, found, 2)
		time.Sleep(25 * time.Second)
		expect(1, 2)
		ends[1]()
		ends[2]()
	})
}

// TestUnknownStatus: a status that no protocol has is told as it is.
func TestUnknownStatus(t *testing.T) {
	require.Equal(t, `unknown status 555: "odd"`, refuse(555, "odd").Error())
	require.Equal(t, "invalid cookie", ErrInvalidCookie.Error())
	require.Equal(t, "invalid ttl", ErrInvalidTTL.Error())
}

// TestAnswersOfOthers: what the client makes of answers that were captured from other
// libraries, or written after their sources.
func TestAnswersOfOthers(t *testing.T) {
	text, err := os.ReadFile("internal/wire/testdata/vectors/standard.json")
	require.NoError(t, err)
	type registration struct {
		Kind string `json:"record_kind"`
		Peer string `json:"peer_id"`
	}
	var vectors []struct {
		Name      string `json:"name"`
		Direction string `json:"direction"`
		Frame     string `json:"frame_hex"`
		Decoded   struct {
			Type          any            `json:"type"`
			Registrations []registration `json:"registrations"`
		} `json:"decoded"`
		Client struct {
			OK     bool     `json:"ok"`
			Status Status   `json:"status"`
			TTL    int      `json:"ttl"`
			Peers  []string `json:"peers"`
		} `json:"client"`
	}
	require.NoError(t, json.Unmarshal(text, &vectors))
	point, h := newHost(t), newHost(t)
	connect(t, h, point)
	checked := 0
	for _, v := range vectors {
		if v.Direction != "answer" {
			continue
		}
		checked++
		t.Run(v.Name, func(t *testing.T) {
			frame, err := hex.DecodeString(v.Frame)
			require.NoError(t, err)
			point.SetStreamHandler(StandardID, func(st network.Stream) {
				r := bufio.NewReader(st)
				for {
					if _, err := wire.ReadFrame(r, nil, 16<<10); err != nil {
						_ = st.Close()
						return
					}
					_, _ = st.Write(frame)
				}
			})
			c := NewClient(h, WithPoints(info(point)), WithProtocol(StandardID))
			if v.Decoded.Type == "REGISTER_RESPONSE" {
				granted, err := c.Register(t.Context(), point.ID(), "interop-vectors", 0)
				if !v.Client.OK {
					require.ErrorIs(t, err, &StatusError{Status: v.Client.Status})
					return
				}
				require.NoError(t, err)
				require.Equal(t, time.Duration(v.Client.TTL)*time.Second, granted)
				return
			}
			found, err := c.Discover(t.Context(), point.ID(), "interop-vectors", 0)
			if !v.Client.OK {
				require.ErrorIs(t, err, &StatusError{Status: v.Client.Status})
				return
			}
			require.NoError(t, err)
			want := v.Client.Peers
			for _, r := range v.Decoded.Registrations {
				if r.Kind == "rust" { // which this client reads as well
					want = append(want, r.Peer)
				}
			}
			var got []string
			for _, r := range found {
				got = append(got, r.Peer.ID.String())
			}
			require.ElementsMatch(t, want, got)
		})
	}
	require.Greater(t, checked, 20)
}
