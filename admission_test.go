package rendezvous

// The cost of requests, and who shares it.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// callerAt is a peer at an address.
func callerAt(p peer.ID, addr string) *caller {
	a := ma.StringCast(addr)
	return &caller{peer: p, addr: a, origin: limit.OriginOf(a), dialect: wire.Waku}
}

// sendAt sends a request at a time and returns its refusal, or errRate if it was dropped.
func sendAt(t testing.TB, q *requests, c *caller, r *wire.Request, now time.Time) error {
	t.Helper()
	k, verdict := q.charge(c, r, now)
	switch verdict {
	case limit.Serve:
	case limit.Drop:
		return errRate
	case limit.Decline:
		return errTooMany
	}
	var d *limit.Draw
	var declined error
	if r.Kind == wire.Discover {
		d, declined = q.draws.Begin(t.Context(), c.peer, c.origin, &network.NullScope{}, grantLimit(r.Discover.Limit, q.config.discoverLimit), now)
	}
	a, err := q.answer(t.Context(), c, r, k, d, declined, now)
	require.NoError(t, err)
	sent := 0
	for _, f := range a.found {
		sent += len(f.Envelope) + len(f.Namespace)
	}
	d.End(sent, true, now)
	if a.refusal != nil {
		return a.refusal
	}
	return nil
}

func registering(ns string, envelope []byte) *wire.Request {
	return &wire.Request{Kind: wire.Register, Register: wire.Registration{Namespace: []byte(ns), Envelope: envelope}}
}

func discovering(ns string, n int64) *wire.Request {
	return &wire.Request{Kind: wire.Discover, Discover: wire.Query{Namespace: []byte(ns), Limit: n}}
}

// plain is a storage without the optional methods of the memory storage.
type plain struct{ Storage }

// TestRefreshAtTheLimit: a peer at its quota keeps all registrations alive within its
// rate, twice in each TTL, even if the storage cannot report what the peer holds.
func TestRefreshAtTheLimit(t *testing.T) {
	eachStorage(t, func(t *testing.T, s Storage) {
		t.Helper()
		key, id := newKey(t, crypto.Ed25519)
		envelope := seal(t, key, id, addr)
		q, c := newTestRequests(t, s), callerAt(id, "/ip4/192.0.2.1/tcp/1")
		for i := range 1000 {
			time.Sleep(time.Second / 55)
			require.NoError(t, sendAt(t, q, c, registering(fmt.Sprint(i), envelope), time.Now()))
		}
		for i := range 3000 {
			time.Sleep(MaxTTL / 2 / 1000)
			require.NoError(t, sendAt(t, q, c, registering(fmt.Sprint(i%1000), envelope), time.Now()), "refresh %d", i)
		}
	})
}

// TestRefreshesOfMany: refreshes stay cheap while other peers register new records as often as
// they can.
func TestRefreshesOfMany(t *testing.T) {
	const peers, others = 10_000, 60_000
	q, now := newTestRequests(t, plain{testStorage(t)}), time.Now()
	add := func(p peer.ID, from int, envelope string) {
		r := Record{
			Namespace: "n", Peer: p, Envelope: []byte(envelope),
			Deadline: now.Add(MaxTTL), Origin: netip.AddrFrom4([4]byte{192, 0, byte(from >> 8), byte(from)}),
		}
		require.NoError(t, q.add(t.Context(), r))
	}
	for i := range peers {
		add(peer.ID(fmt.Sprint(i)), i, "e")
	}
	for i := range others {
		add(peer.ID(fmt.Sprint("other ", i%320)), peers, fmt.Sprint(i))
	}
	cheap := 0
	for i := range peers {
		c := &caller{peer: peer.ID(fmt.Sprint(i)), dialect: wire.Waku}
		k := q.lookUp(c, registering("n", []byte("e")), now)
		k.left -= MaxTTL / 2
		if k.verified && q.price(c, 0, &k) == limit.Refresh {
			cheap++
		}
	}
	require.Equal(t, peers, cheap)
}

// TestNeighboursRefresh: sixty identities bring an address into debt. A neighbour at this
// address can still refresh what is due but not add registrations. The neighbour's own
// debt stops its refreshes.
func TestNeighboursRefresh(t *testing.T) {
	eachStorage(t, func(t *testing.T, s Storage) {
		t.Helper()
		key, id := newKey(t, crypto.Ed25519)
		envelope := seal(t, key, id, addr)
		q := newTestRequests(t, s)
		const here = "/ip4/192.0.2.1/tcp/1"
		neighbour := callerAt(id, here)
		require.NoError(t, sendAt(t, q, neighbour, registering("n", envelope), time.Now()))
		time.Sleep(MaxTTL / 2)
		for i := range 60 {
			greedy := callerAt(peer.ID(fmt.Sprint(i)), here)
			for range 1000 {
				_ = sendAt(t, q, greedy, discovering("n", 1), time.Now())
			}
		}
		require.ErrorIs(t, sendAt(t, q, neighbour, discovering("n", 1), time.Now()), errRate)
		require.ErrorIs(t, sendAt(t, q, neighbour, registering("m", envelope), time.Now()), errRate)
		require.False(t, q.rates.InDebt(id, time.Now()), "its stream is read")
		require.NoError(t, sendAt(t, q, neighbour, registering("n", envelope), time.Now()))
		require.ErrorIs(t, sendAt(t, q, neighbour, registering("n", envelope), time.Now()), errRate, "the next one is not due yet")
		time.Sleep(MaxTTL / 2) // the address is out of debt
		for range 10_000 {
			_ = sendAt(t, q, neighbour, discovering("n", 1), time.Now())
		}
		require.True(t, q.rates.InDebt(id, time.Now()))
		require.ErrorIs(t, sendAt(t, q, neighbour, registering("n", envelope), time.Now()), errRate)
	})
}

// TestEarlyRefreshesCost: a refresh is cheap, and not charged to the address, only if it is
// due, after a quarter of its TTL. However a peer mixes its TTLs, it gets no more cheap ones
// than one per second, except for what it has paid for in advance.
func TestEarlyRefreshesCost(t *testing.T) {
	const hundredths = 6000
	cycle := func(ttls ...int64) func(int) int64 {
		return func(i int) int64 { return ttls[i%len(ttls)] }
	}
	for name, test := range map[string]struct {
		ttl   func(i int) int64
		every int // in hundredths of a second
		cheap int
	}{
		"each due":               {cycle(20), 500, 11},
		"too early":              {cycle(20), 499, 0},
		"at any time":            {cycle(0), 1, 0},
		"of the shortest TTL":    {cycle(1), 1, 0},
		"of it, each due":        {cycle(1), 100, 59},
		"of no valid TTL":        {cycle(20, 21), 1, 0},
		"shortened and extended": {cycle(1, 20), 1, hundredths / 2},
		"extended in many steps": {cycle(1, 2, 3, 4, 6, 8, 11, 15, 20), 1, hundredths/9*8 + 5},
	} {
		t.Run(name, func(t *testing.T) {
			eachStorage(t, func(t *testing.T, s Storage) {
				t.Helper()
				key, id := newKey(t, crypto.Ed25519)
				envelope := seal(t, key, id, addr)
				q, c := newTestRequests(t, s, WithRateLimit(0, 0)), callerAt(id, "/ip4/192.0.2.1/tcp/1")
				cheap, paid := 0, 0.0
				for i := range hundredths / test.every {
					r := registering("n", envelope)
					r.Register.TTL = test.ttl(i)
					k := q.lookUp(&caller{peer: id, dialect: wire.Waku}, r, time.Now())
					if price := q.price(c, r.Register.TTL, &k); price == limit.Refresh {
						cheap++
					} else {
						paid += price
					}
					err := sendAt(t, q, c, r, time.Now())
					require.Equal(t, r.Register.TTL <= 20, err == nil)
					time.Sleep(time.Duration(test.every) * time.Second / 100)
				}
				require.Equal(t, test.cheap, cheap)
				require.LessOrEqual(t, float64(cheap)*limit.Refresh, paid+hundredths/100)
			})
		})
	}
}

// TestGrowingRefreshesCost: over the standard protocol, a peer gets no more cheap refreshes of
// one registration than one per second either, whether its TTLs grow or an UNREGISTER lets them
// begin anew.
func TestGrowingRefreshesCost(t *testing.T) {
	const seconds, perSecond = 30, 50
	for name, begin := range map[string]func(i int) bool{
		"extended in many steps": func(i int) bool { return i == 0 },
		"made anew":              func(i int) bool { return i%9 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			eachStandard(t, func(t *testing.T, q *requests) {
				t.Helper()
				q.rates = limit.NewBudget(0, 0)
				key, id := newKey(t, crypto.Ed25519)
				envelope := seal(t, key, id, addr)
				c := callerAt(id, "/ip4/192.0.2.1/tcp/1")
				c.dialect = wire.Standard
				cheap, ttl := 0, int64(0)
				for i := range seconds * perSecond {
					if begin(i) {
						ttl = 0
						require.NoError(t, sendAt(t, q, c, &wire.Request{Kind: wire.Unregister}, time.Now()))
					}
					ttl += 5
					r := registering("n", envelope)
					r.Register.TTL = ttl
					k := q.lookUp(c, r, time.Now())
					if q.price(c, ttl, &k) == limit.Refresh {
						cheap++
					}
					require.NoError(t, sendAt(t, q, c, r, time.Now()))
					time.Sleep(time.Second / perSecond)
				}
				require.LessOrEqual(t, cheap, seconds+1)
			})
		})
	}
}

// TestLastingRefreshes: a peer that asks for two hours and refreshes every ten seconds gets
// each refresh cheaply.
func TestLastingRefreshes(t *testing.T) {
	eachStandard(t, func(t *testing.T, q *requests) {
		t.Helper()
		key, id := newKey(t, crypto.Ed25519)
		c, r := callerAt(id, "/ip4/192.0.2.1/tcp/1"), registering("n", seal(t, key, id, addr))
		c.dialect, r.Register.TTL = wire.Standard, 7200
		for i := range 10 {
			k := q.lookUp(c, r, time.Now())
			require.Equal(t, i > 0, q.price(c, 7200, &k) == limit.Refresh)
			require.NoError(t, sendAt(t, q, c, r, time.Now()))
			time.Sleep(10 * time.Second)
		}
	})
}

// TestLastingRecordGrows: a peer whose record has grown, and that asks for hours when the half
// for lasting registrations is full, keeps what it has. It is granted 20 seconds only where
// that does not shorten a registration.
func TestLastingRecordGrows(t *testing.T) {
	eachStandard(t, func(t *testing.T, q *requests) {
		t.Helper()
		q.config.quota = Quota{Total: 1000, Bytes: 2000}
		key, id := newKey(t, crypto.Ed25519)
		c := callerAt(id, "/ip4/192.0.2.1/tcp/1")
		c.dialect = wire.Standard
		register := func(c *caller, ns string, envelope []byte) answer {
			r := registering(ns, envelope)
			r.Register.TTL = 7200
			k, _ := q.charge(c, r, time.Now())
			a, err := q.answer(t.Context(), c, r, k, nil, nil, time.Now())
			require.NoError(t, err)
			return a
		}
		small := seal(t, key, id, addr)
		require.Equal(t, 2*time.Hour, register(c, "n", small).ttl)
		for full := false; !full; {
			key, id := newKey(t, crypto.Ed25519)
			other := callerAt(id, "/ip4/192.0.2.2/tcp/1")
			other.dialect = wire.Standard
			full = register(other, "n", seal(t, key, id, addr)).ttl == freshTime
		}
		grown := seal(t, key, id, slices.Repeat([]string{addr}, 30)...)
		refused := register(c, "n", grown)
		require.NotNil(t, refused.refusal, "granted %v", refused.ttl)
		require.ErrorIs(t, refused.refusal, ErrUnavailable)
		require.Equal(t, freshTime, register(c, "another", grown).ttl)
		time.Sleep(time.Hour)
		records, _, err := q.storage.(Pager).Page(t.Context(), "n", KindPeerRecord, "", 1, 0)
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Equal(t, small, records[0].Envelope)
		time.Sleep(time.Hour + time.Second)
		require.Equal(t, 2*time.Hour, register(c, "n", grown).ttl, "others have left")
	})
}

// eachStandard runs a test in virtual time with the requests of points that serve the standard
// protocol, one from the memory storage and one from one that cannot report what a peer holds.
func eachStandard(t *testing.T, test func(t *testing.T, q *requests)) {
	t.Helper()
	for name, wrap := range map[string]func(Pager) Storage{
		"memory": func(s Pager) Storage { return s },
		"plain":  func(s Pager) Storage { return plainPager{s} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newTestRequests(t, wrap(pagingStorage(t)), WithStandardProtocol(0, 0))
				var err error
				q.standard, err = newStandard(nil, q.storage, q.config.metrics)
				require.NoError(t, err)
				require.NoError(t, q.standard.begin(t.Context()))
				test(t, q)
			})
		})
	}
}

// eachStorage runs a test in virtual time with the memory storage, and with one that cannot
// report what a peer holds.
func eachStorage(t *testing.T, test func(t *testing.T, s Storage)) {
	t.Helper()
	for name, wrap := range map[string]func(Storage) Storage{
		"memory": func(s Storage) Storage { return s },
		"plain":  func(s Storage) Storage { return plain{s} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, wrap(testStorage(t))) })
		})
	}
}

// TestSignatureChecksArePaid: a record of another peer costs its sender only the request,
// however slow the other's key is. A record of the sender costs as much as its type of key and
// its size.
func TestSignatureChecksArePaid(t *testing.T) {
	key, id := newKey(t, crypto.ECDSA) // P-256: two tokens
	slowKey := p521(t)
	slow, err := peer.IDFromPrivateKey(slowKey)
	require.NoError(t, err)
	large := seal(t, key, id, slices.Repeat([]string{addr}, 100)...)
	for name, test := range map[string]struct {
		sender   peer.ID
		envelope []byte
		served   int // out of a burst of 102
	}{
		"another's":        {slow, seal(t, key, id, addr), 102},
		"another's, P-521": {id, seal(t, slowKey, slow, addr), 102},
		"its own":          {id, seal(t, key, id, addr), 34},
		"its own, P-521":   {slow, seal(t, slowKey, slow, addr), 2},
		"its own, large":   {id, large, int(102 / (3 + float64(len(large)-512)/1024))},
	} {
		q, now, served := newTestRequests(t, failing{err: ErrFull}, WithRateLimit(1, 102)), time.Now(), 0
		for {
			err := sendAt(t, q, callerAt(test.sender, "/ip4/192.0.2.1/tcp/1"), registering("n", test.envelope), now)
			if refused, ok := errors.AsType[*StatusError](err); ok && refused.Text == errTooMany.Text {
				break
			}
			served++
		}
		require.Equal(t, test.served, served, name)
	}
}

// TestEgress: a peer gets a burst of bytes and then its rate, however small its requests
// are. The largest requests are declined first, and unsent bytes are credited.
func TestEgress(t *testing.T) {
	s := testStorage(t)
	envelope := make([]byte, limit.UsualSize-1)
	for i := range 1000 {
		require.NoError(t, s.Add(t.Context(), Record{Namespace: "n", Peer: peer.ID(fmt.Sprint(i)), Envelope: envelope, Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	q, now := newTestRequests(t, s, WithRateLimit(0, 0)), time.Now()
	c, sent := callerAt("p", "/ip4/192.0.2.1/tcp/1"), 0
	const seconds = 10
	for i := range seconds * 100 {
		if sendAt(t, q, c, discovering("n", 1000), now.Add(time.Duration(i)*time.Second/100)) == nil {
			sent += 1000 * limit.UsualSize
		}
	}
	require.InDelta(t, defaultEgressBurst+seconds*defaultEgress, sent, 2e6)
	now = now.Add(seconds * time.Second)
	require.ErrorIs(t, sendAt(t, q, c, discovering("n", 1000), now), ErrUnavailable)
	require.NoError(t, sendAt(t, q, c, discovering("n", 10), now), "the largest are declined first")
	require.NoError(t, sendAt(t, q, callerAt("q", "/ip4/192.0.2.1/tcp/1"), discovering("n", 1000), now), "another peer")

	fresh := newTestRequests(t, testStorage(t), WithRateLimit(0, 0))
	for range 1000 {
		require.NoError(t, sendAt(t, fresh, c, discovering("n", 1000), now), "answers without registrations cost next to nothing")
	}
}

// TestEgressOfNetworks: all identities of an address get what twenty get, those in a /56 four
// times as much, and those in a /48 sixteen times.
func TestEgressOfNetworks(t *testing.T) {
	s := testStorage(t)
	for i := range 100 {
		require.NoError(t, s.Add(t.Context(), Record{Namespace: "n", Peer: peer.ID(fmt.Sprint(i)), Envelope: make([]byte, limit.UsualSize-1), Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	const each, burst = 100 * limit.UsualSize, 1000 * limit.UsualSize
	for format, share := range map[string]int{ // of 200 addresses
		"/ip6/2001:db8::%x/tcp/1":      20,
		"/ip6/2001:db8:0:%x::/tcp/1":   4 * 20,
		"/ip6/2001:db8:0:%x00::/tcp/1": 16 * 20,
	} {
		q, now, sent := newTestRequests(t, s, WithRateLimit(0, 0), WithEgressLimit(1000, burst)), time.Now(), 0
		for i := range 200 { // networks
			for peerOf := range 4 {
				c := callerAt(peer.ID(fmt.Sprint(i, "/", peerOf)), fmt.Sprintf(format, i))
				for sendAt(t, q, c, discovering("n", 100), now) == nil {
					sent += each
				}
			}
		}
		require.InDelta(t, share*burst, sent, burst/2, format)
	}
}

// TestAuthorizerHidesMost: a sample across all namespaces is full although nine of ten
// registrations are hidden. The authorizer is asked once about each namespace.
func TestAuthorizerHidesMost(t *testing.T) {
	s := testStorage(t)
	for i := range 200 {
		ns := fmt.Sprint("hidden ", i%50)
		if i < 20 {
			ns = "open"
		}
		require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: peer.ID(fmt.Sprint(i)), Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	var asked map[string]int
	q := newTestRequests(t, s, WithRateLimit(0, 0), WithAuthorizer(func(_ context.Context, r Request) error {
		asked[r.Namespace]++
		if r.Namespace != "" && r.Namespace != "open" {
			return errors.New("hidden")
		}
		return nil
	}))
	for range 100 {
		asked = make(map[string]int)
		a := new(answer)
		require.NoError(t, q.discover(t.Context(), callerAt("p", "/ip4/192.0.2.1/tcp/1"), &wire.Query{Limit: 10}, nil, a))
		require.Len(t, a.found, 10)
		for ns, n := range asked {
			require.Equal(t, 1, n, ns)
		}
	}
}

// TestReusedSamples: what a sample leaves out is not kept alive by its memory, which the next
// sample reuses.
func TestReusedSamples(t *testing.T) {
	s := testStorage(t)
	for i := range 300 {
		ns := []string{"open", "hidden"}[i%2]
		require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: peer.ID(fmt.Sprint(i)), Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	q := newTestRequests(t, s, WithRateLimit(0, 0), WithAuthorizer(func(_ context.Context, r Request) error {
		if r.Namespace == "hidden" {
			return errors.New("hidden")
		}
		return nil
	}))
	c := callerAt("p", "/ip4/192.0.2.1/tcp/1")
	for _, n := range []int64{10, 100, 140, 1000} { // the last one is rounded down
		a := new(answer)
		require.NoError(t, q.discover(t.Context(), c, &wire.Query{Limit: n}, nil, a))
		require.NotEmpty(t, a.found)
		for _, f := range a.found[len(a.found):cap(a.found)] {
			require.Empty(t, f)
		}
	}
}

// TestHiddenSamplesCost: samples that are drawn because the caller may see nothing of the ones
// before cost it as much as requests, and end when it cannot pay.
func TestHiddenSamplesCost(t *testing.T) {
	s := testStorage(t)
	for i := range maxDrawn {
		require.NoError(t, s.Add(t.Context(), Record{Namespace: "hidden", Peer: peer.ID(fmt.Sprint(i)), Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour)}, Quota{}))
	}
	q := newTestRequests(t, s, WithRateLimit(0.001, 3), WithAuthorizer(func(_ context.Context, r Request) error {
		if r.Namespace != "" {
			return errors.New("hidden")
		}
		return nil
	}))
	c := callerAt("p", "/ip4/192.0.2.1/tcp/1")
	a := new(answer)
	require.NoError(t, q.discover(t.Context(), c, &wire.Query{Limit: 1000}, nil, a))
	require.Empty(t, a.found)
	require.Equal(t, limit.Decline, q.rates.Charge(c.peer, c.origin, 1, time.Now()))
}

// TestRefusedStreamsCost: a stream costs a token if it is refused because the peer has too
// many.
func TestRefusedStreamsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t), WithRateLimit(1, 10))
		connect(t, hosts[1], hosts[0])
		first := openRaw(t, hosts[1], hosts[0].ID())
		require.Equal(t, pb.Message_OK, first.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
		for range maxStreamsPerPeer + 20 {
			_, _ = openRaw(t, hosts[1], hosts[0].ID()).Write([]byte{5})
		}
		time.Sleep(time.Second / 2)
		require.Equal(t, pb.Message_E_UNAVAILABLE, first.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
	})
}

// TestStartTwoAtOnce: if several services start on one host at once, one of them succeeds.
func TestStartTwoAtOnce(t *testing.T) {
	h, s := newHost(t), testStorage(t)
	for range 20 {
		services := make([]*RendezvousService, 8)
		errs := make([]error, len(services))
		var all sync.WaitGroup
		for i := range services {
			services[i] = NewRendezvousService(h, s)
			all.Go(func() { errs[i] = services[i].Start() })
		}
		all.Wait()
		started := 0
		for i, err := range errs {
			if err == nil {
				started++
			}
			services[i].Stop()
		}
		require.Equal(t, 1, started)
	}
}
