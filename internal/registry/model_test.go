package registry

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

const (
	tick = int64(1) << tickBits
	turn = tick * wheelTicks
)

// model does what a registry does, in the plainest way. It holds every registration until
// the registry says that it has evicted it.
type model struct {
	held map[key]content
	next int                // place in the order
	last map[peer.ID]string // envelope that each peer registered last
}

type content struct {
	envelope string
	deadline int64
	fresh    int64
	kind     Kind
	origin   netip.Addr // invalid: none
	at       int        // its place in the order
}

func (c content) lasting() bool { return c.fresh < c.deadline }

func newModel() *model {
	return &model{held: make(map[key]content), last: make(map[peer.ID]string)}
}

// fresh returns what may be sampled at now.
func (m *model) fresh(namespace string, now int64) map[key]content {
	fresh := m.live(namespace, now)
	for k, c := range fresh {
		if c.fresh <= now || c.kind != 0 {
			delete(fresh, k)
		}
	}
	return fresh
}

// page returns the page that there must be after a place in the order.
func (m *model) page(namespace string, kind Kind, after, n, maxBytes int, now int64) (keys []key) {
	live := m.live(namespace, now)
	for k, c := range live {
		if c.kind == kind && c.at > after {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(live[a].at, live[b].at) })
	keys = keys[:min(max(n, 0), len(keys))]
	left := maxBytes
	for i, k := range keys {
		left -= len(k.namespace) + len(live[k].envelope)
		if i > 0 && maxBytes > 0 && left < 0 {
			return keys[:i]
		}
	}
	return keys
}

// live returns what is live at now in a namespace, or in all for "".
func (m *model) live(namespace string, now int64) map[key]content {
	live := make(map[key]content)
	for k, c := range m.held {
		if c.deadline > now && (namespace == "" || namespace == k.namespace) {
			live[k] = c
		}
	}
	return live
}

// admit returns what Admit must decide: whether it is a refresh, where it counts, and the error.
func (m *model) admit(k key, c content, q Quota, now int64) (refresh bool, origin netip.Addr, err error) {
	old, ok := m.held[k]
	refresh = ok && old.deadline > now
	if q == unlimited {
		return refresh, c.origin, nil
	}
	live := m.live("", now)
	if !refresh {
		old = content{}
	}
	hasRoom := hasRoomAt(live, old.origin, c.origin, q.PerOrigin)
	lastingFull := c.lasting() && (!refresh || !old.lasting()) && lastingExceeds(live, k, c, q)
	if refresh {
		switch {
		case lastingFull, growsBeyond(live, k, c, q):
			return true, netip.Addr{}, ErrFull
		case !hasRoom:
			return true, old.origin, nil
		}
		return true, c.origin, nil
	}
	ofPeer := 0
	for other := range live {
		if other.peer == k.peer {
			ofPeer++
		}
	}
	switch {
	case q.PerPeer > 0 && ofPeer >= q.PerPeer:
		return false, netip.Addr{}, ErrPeerLimit
	case !hasRoom:
		return false, netip.Addr{}, ErrOriginLimit
	case lastingFull, q.Total > 0 && len(live) >= q.Total, q.Bytes > 0 && sizeOf(live)+size(k, c) > q.Bytes:
		return false, netip.Addr{}, ErrFull
	}
	return false, c.origin, nil
}

// lastingExceeds reports whether a further lasting registration is over half of a quota.
func lastingExceeds(live map[key]content, k key, c content, q Quota) bool {
	lasting := make(map[key]content)
	for other, o := range live {
		if o.lasting() {
			lasting[other] = o
		}
	}
	return q.Total > 0 && len(lasting)+1 > max(1, q.Total/2) ||
		q.Bytes > 0 && sizeOf(lasting)+size(k, c) > max(1, q.Bytes/2)
}

// growsBeyond reports whether a refresh is larger than before and than the average, and over a
// quota of bytes.
func growsBeyond(live map[key]content, k key, c content, q Quota) bool {
	if q.Bytes <= 0 || q.Total <= 0 || size(k, c) <= q.Bytes/int64(q.Total) || size(k, c) <= size(k, live[k]) {
		return false
	}
	after, lasting := maps.Clone(live), make(map[key]content)
	after[k] = c
	for other, o := range after {
		if o.lasting() {
			lasting[other] = o
		}
	}
	return sizeOf(after) > q.Bytes || c.lasting() && live[k].lasting() && sizeOf(lasting) > max(1, q.Bytes/2)
}

// hasRoomAt reports whether another registration may count at an address, if it is a new
// one or counted at from until now.
func hasRoomAt(live map[key]content, from, at netip.Addr, perOrigin int) bool {
	if perOrigin <= 0 || !at.IsValid() {
		return true
	}
	limits := map[int]int{64: perOrigin, 56: 4 * perOrigin, 48: 16 * perOrigin}
	if at.Is4() {
		limits = map[int]int{32: perOrigin}
	}
	for bits, limit := range limits {
		network := netip.PrefixFrom(at, bits).Masked()
		if network.Contains(from) {
			continue // no more than now
		}
		n := 0
		for _, c := range live {
			if network.Contains(c.origin) {
				n++
			}
		}
		if n >= limit {
			return false
		}
	}
	return true
}

// size is what a registration counts against a quota of bytes.
func size(k key, c content) int64 { return int64(len(k.namespace) + len(k.peer) + len(c.envelope)) }

func sizeOf(registrations map[key]content) (sum int64) {
	for k, c := range registrations {
		sum += size(k, c)
	}
	return sum
}

func (m *model) put(k key, c content) {
	m.next++
	c.at = m.next
	m.held[k] = c
	m.last[k.peer] = c.envelope
}

func (m *model) remove(k key) {
	delete(m.held, k)
	for other := range m.held {
		if other.peer == k.peer {
			return
		}
	}
	delete(m.last, k.peer)
}

func (m *model) namespaces() int {
	names := make(map[string]bool)
	for k := range m.held {
		names[k.namespace] = true
	}
	return len(names)
}

// play takes steps with a registry and with the model, and requires the same of both.
type play struct {
	*fixture
	model   *model
	quota   Quota
	steps   *bytes.Reader
	story   []string
	evicted uint64
	behind  int    // how often Admit was
	slots   []Slot // of earlier samples, which must stay as they were
	want    []sampled
	walkers [4]walker
	unusual bool // whether there are registrations that need the order
	ordered bool // whether the model knows the order
}

// walker follows cursors.
type walker struct {
	namespace string
	kind      Kind
	cursor    string
	at        int // the place in the order that the cursor must be after
}

type sampled struct {
	key
	content
}

func contentOf(s Slot) sampled {
	c := content{envelope: string(s.Envelope()), deadline: s.Deadline(), origin: s.registration.origin.Addr()}
	return sampled{key{s.Namespace(), s.Peer()}, c}
}

// playSteps plays all steps. It checks the inside of the registry after every few of them,
// because that takes the most time.
func playSteps(t *testing.T, steps []byte, checkEvery int) *play {
	t.Helper()
	p := &play{fixture: newFixture(), model: newModel(), steps: bytes.NewReader(steps)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done last:\n\t%s", strings.Join(p.story[max(0, len(p.story)-100):], "\n\t"))
		}
	})
	p.unusual = p.next(2) == 1
	for n := 0; p.step(t); n++ {
		p.compare(t)
		if n%checkEvery == 0 {
			checkInvariants(t, p.Registry, p.now)
		}
	}
	checkInvariants(t, p.Registry, p.now)
	p.now += 1 << 62
	p.evict()
	p.compare(t)
	checkInvariants(t, p.Registry, p.now)
	require.Zero(t, p.Len(), "what is left after all have expired")
	for i, s := range p.slots {
		want := p.want[i]
		want.origin = s.registration.origin.Addr() // not of the slot, but of the registration
		require.Equal(t, want, contentOf(s), "a slot has changed")
	}
	return p
}

// next returns a number below n from the steps, or 0 at their end.
func (p *play) next(n int) int {
	b, err := p.steps.ReadByte()
	if err != nil {
		return 0
	}
	return int(b) % n
}

func (p *play) tell(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf(format, args...))
}

func (p *play) duration() int64 {
	durations := []int64{
		0, 1, 2, 1000, tick - 1, tick, tick + 1, 2 * tick, int64(time.Second), int64(10 * time.Second),
		int64(20 * time.Second), int64(20*time.Second) + 1, turn - tick, turn - 1, turn, turn + tick, 3 * turn, 40 * turn,
	}
	return durations[p.next(len(durations))]
}

func (p *play) namespace() string {
	names := []string{"n", "n\x00", "n\x00\x00", "nn", "n\xff", "m", "\x00", strings.Repeat("n", 256)}
	i := p.next(50)
	if i < len(names) {
		return names[i]
	}
	return numbered(i)
}

func numbered(i int) string { return fmt.Sprint("n", i) }

// peer returns an ID. One peer in two has many namespaces.
func (p *play) peer() peer.ID {
	ids := []peer.ID{"p", "p\x00", "pp", ""}
	i := p.next(40)
	switch {
	case i < len(ids):
		return ids[i]
	case i < 20:
		return "crowded"
	}
	return peer.ID(fmt.Sprint("p", i))
}

// address returns an address, or none. Many are in the same wider networks.
func (p *play) address() netip.Addr {
	switch i := p.next(64); {
	case i < 16:
		return netip.Addr{}
	case i < 24:
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 3)})
	default:
		return netip.AddrFrom16([16]byte{0x20, 0x01, 5: byte(i / 60), 6: byte(i % 8), 7: byte(i / 8 % 5)})
	}
}

// envelopeOf returns one of three envelopes of a peer, which differ in size.
func envelopeOf(p peer.ID, i int) string { return fmt.Sprintf("%q %0*d", string(p), 20*i, i) }

// content returns what a peer registers for a time.
func (p *play) content(id peer.ID, ttl int64) content {
	c := content{envelope: envelopeOf(id, p.next(3)), deadline: p.now + ttl, fresh: p.now + ttl, origin: p.address()}
	if p.unusual && p.next(2) == 0 {
		c.kind = Kind(max(0, p.next(6)-3))
		c.fresh = min(c.deadline, p.now+p.duration())
	}
	return c
}

// limit returns a limit up to most. Half are none.
func (p *play) limit(most int) int { return max(0, p.next(2*most+1)-most) }

// maxBytes returns a bound for a sample.
func (p *play) maxBytes() int { return 16 * p.limit(127) }

// step takes the next step, and reports whether there was one.
func (p *play) step(t *testing.T) bool {
	t.Helper()
	if p.steps.Len() == 0 {
		return false
	}
	switch op := p.next(64); {
	case op < 28:
		k := key{p.namespace(), p.peer()}
		p.register(t, k, p.content(k.peer, p.duration()), p.quota)
	case op < 33:
		p.page(t, &p.walkers[p.next(len(p.walkers))], p.next(70), p.maxBytes())
	case op < 34:
		p.restart(&p.walkers[p.next(len(p.walkers))])
	case op < 37:
		p.renewOrRemove(p.next(3), p.namespace(), p.peer())
	case op < 40:
		p.sample(t, p.namespace(), p.next(70), p.maxBytes())
	case op < 44:
		p.sample(t, "", p.next(256), p.maxBytes())
	case op < 52:
		d := p.duration()
		p.tell("wait %v", time.Duration(d))
		p.now += d
	case op < 56:
		p.evictSome(t, p.next(20))
	case op < 59:
		p.evictAll(t)
	case op < 62:
		p.quota = Quota{PerPeer: p.limit(24), PerOrigin: p.limit(4), Total: p.limit(100), Bytes: 64 * int64(p.limit(100))}
		p.tell("quota %+v", p.quota)
	case op == 62 && p.next(2) == 0:
		p.unusual = !p.unusual
	case op == 62: // more than one Admit can evict
		c := p.content("", p.duration())
		for i := range maxEvictions + 20 {
			p.register(t, key{"crowd", numberedPeer(i)}, c, unlimited)
		}
	default: // many of one peer, all with the same deadline
		id, ttl, start := p.peer(), p.duration(), p.next(40)
		for i := range 1 + p.next(40) {
			p.register(t, key{numbered((start + 7*i) % 40), id}, p.content(id, ttl), p.quota)
		}
	}
	return true
}

func (p *play) register(t *testing.T, k key, c content, q Quota) {
	t.Helper()
	p.tell("register %q in %q for %v at %d from %v with %q",
		string(k.peer), k.namespace, time.Duration(c.deadline-p.now), p.now, c.origin, c.envelope)
	refresh, origin, want := p.model.admit(k, c, q, p.now)
	e := Entry{
		Namespace: k.namespace, Peer: k.peer, Envelope: []byte(c.envelope),
		Deadline: c.deadline, Fresh: c.fresh, Kind: c.kind, Origin: OriginOf(c.origin),
	}
	a, err := p.admit(t, &e, q)
	require.ErrorIs(t, err, want)
	p.forget(t)
	if err != nil {
		require.Zero(t, a)
		return
	}
	require.Equal(t, refresh, a.refreshes != nil)
	require.Equal(t, origin, a.Origin.Addr())
	p.Put(a, &e)
	clear(e.Envelope) // it is the caller's again
	c.origin = origin
	p.model.put(k, c)
}

// admit calls Admit until it is no longer behind. Each call must look at many, so there
// are few calls.
func (p *play) admit(t *testing.T, e *Entry, q Quota) (Admission, error) {
	t.Helper()
	for most := 2 + 4*p.Len()/maxEvictions; ; most-- {
		a, err := p.Admit(e, q, p.now)
		if !errors.Is(err, ErrBehind) {
			return a, err
		}
		require.Zero(t, a)
		require.Positive(t, most, "Admit is behind again and again")
		p.behind++
	}
}

// sample draws a sample. One that is shorter than it could be must be so for its bytes.
func (p *play) sample(t *testing.T, namespace string, n, maxBytes int) {
	t.Helper()
	p.tell("sample %d of %q at %d, at most %d bytes", n, namespace, p.now, maxBytes)
	live := p.model.fresh(namespace, p.now)
	want := min(n, len(live))
	before := Slot{deadline: 42}
	got := p.Sample([]Slot{before}, namespace, n, maxBytes, p.now)
	require.Equal(t, before, got[0], "what was in dst")
	got = got[1:]
	left := maxBytes
	for _, s := range got {
		c := contentOf(s)
		require.Contains(t, live, c.key, "it is not live, or comes twice")
		w := live[c.key]
		require.Equal(t, content{envelope: w.envelope, deadline: w.fresh, origin: w.origin}, c.content)
		delete(live, c.key)
		left -= len(c.namespace) + len(c.envelope)
		if len(p.slots) < 100 {
			p.slots, p.want = append(p.slots, s), append(p.want, c)
		}
	}
	if maxBytes == 0 {
		require.Len(t, got, want)
		return
	}
	require.GreaterOrEqual(t, left, 0, "the sample is larger than it may be")
	if len(got) == want {
		return
	}
	require.Less(t, len(got), want)
	largest := 0
	for k, c := range live {
		largest = max(largest, len(k.namespace)+len(c.envelope))
	}
	require.Greater(t, largest, left, "every other one would have had room")
}

// page requires the page after a walker's cursor, and moves the walker.
func (p *play) page(t *testing.T, w *walker, n, maxBytes int) {
	t.Helper()
	p.tell("page %d of %q, kind %d, after %q at %d, at most %d bytes", n, w.namespace, w.kind, w.cursor, p.now, maxBytes)
	p.Order(42, 1)
	p.learnOrder(t)
	want := p.model.page(w.namespace, w.kind, w.at, n, maxBytes, p.now)
	got, cursor := p.pageOf(t, w.namespace, w.kind, w.cursor, n, maxBytes)
	require.Len(t, got, len(want))
	for i, pl := range got {
		held := p.model.held[want[i]]
		require.Equal(t, want[i].namespace, pl.Namespace(), "registration %d of a page", i)
		require.Equal(t, want[i].peer, pl.Peer(), "registration %d of a page", i)
		require.Equal(t, held.envelope, string(pl.Envelope()))
		require.Equal(t, held.deadline, pl.Deadline())
		w.at = held.at
	}
	require.LessOrEqual(t, len(cursor), 255)
	w.cursor = cursor
}

// pageOf calls Page until it is no longer behind.
func (p *play) pageOf(t *testing.T, namespace string, kind Kind, after string, n, maxBytes int) ([]*Place, string) {
	t.Helper()
	for most := 2 + p.Len()/maxEvictions; ; most-- {
		before := &Place{deadline: 42}
		got, cursor, err := p.Page([]*Place{before}, namespace, kind, after, n, maxBytes, p.now)
		require.Same(t, before, got[0], "what was in dst")
		if err == nil {
			return got[1:], cursor
		}
		require.ErrorIs(t, err, ErrBehind)
		require.Len(t, got, 1)
		require.Positive(t, most, "Page is behind again and again")
		p.behind++
	}
}

// restart makes a walker begin, in one namespace or in all, with a cursor that means nothing.
func (p *play) restart(w *walker) {
	cursors := []string{
		"", "-", "0", "000000000000002a-", "000000000000002a-0", "000000000000002a--1", "000000000000002a-00", "000000000000002a-+1",
		"000000000000002b-1", "000000000000002A-1", "2a-1", "000000000000002a-fffffffffffffff0", "000000000000002a-10000000000000000", "\x00\xff", strings.Repeat("9", 300),
	}
	*w = walker{namespace: p.namespace(), kind: Kind(p.next(3)), cursor: cursors[p.next(len(cursors))]}
	if p.next(4) != 0 {
		w.namespace = ""
	}
}

// learnOrder lets the model know the order when it has begun. Registrations from before are in
// any order.
func (p *play) learnOrder(t *testing.T) {
	t.Helper()
	if p.ordered || !p.Ordered() {
		return
	}
	p.ordered = true
	for kind := range Kind(3) {
		all, _ := p.pageOf(t, "", kind, "", 1<<30, 0)
		require.Len(t, all, len(p.model.page("", kind, -1, 1<<30, 0, p.now)), "registrations of kind %d", kind)
		for _, pl := range all {
			k := key{pl.Namespace(), pl.Peer()}
			held := p.model.held[k]
			require.Equal(t, kind, held.kind)
			p.model.next++
			held.at = p.model.next
			p.model.held[k] = held
		}
	}
}

// renewOrRemove removes a registration of a peer or all, or renews all.
func (p *play) renewOrRemove(what int, namespace string, id peer.ID) {
	if what == 0 {
		fresh := p.now + p.duration()
		p.tell("renew %q until %d", string(id), fresh)
		p.Renew(id, fresh, p.now)
		for k, c := range p.model.live("", p.now) {
			if k.peer == id {
				c.fresh = max(c.fresh, min(fresh, c.deadline))
				p.model.held[k] = c
			}
		}
		return
	}
	if what == 1 {
		namespace = ""
	}
	p.tell("remove %q in %q", string(id), namespace)
	p.Remove(namespace, id)
	for k := range p.model.held {
		if k.peer == id && (namespace == "" || namespace == k.namespace) {
			p.model.remove(k)
		}
	}
}

func (p *play) evictSome(t *testing.T, most int) {
	t.Helper()
	p.tell("evict %d at %d", most, p.now)
	p.Evict(p.now, most)
	require.LessOrEqual(t, len(p.expired), most)
}

func (p *play) evictAll(t *testing.T) {
	t.Helper()
	p.tell("evict all at %d", p.now)
	p.evict()
	p.forget(t)
	for k, c := range p.model.held {
		require.Greater(t, c.deadline, p.now-tick, "%q was not evicted", k)
	}
}

// forget removes from the model what the registry says it has evicted.
func (p *play) forget(t *testing.T) {
	t.Helper()
	for _, k := range p.expired {
		require.Contains(t, p.model.held, k, "it was evicted and not there")
		require.LessOrEqual(t, p.model.held[k].deadline, p.now, "%q was evicted before its deadline", k)
		p.model.remove(k)
		p.evicted++
	}
	p.expired = nil
}

// compare compares what the registry says of itself with the model.
func (p *play) compare(t *testing.T) {
	t.Helper()
	p.learnOrder(t)
	p.forget(t)
	require.Len(t, p.model.held, p.Len())
	require.Equal(t, p.model.namespaces(), p.Namespaces())
	require.Equal(t, p.evicted, p.Expired())
	require.GreaterOrEqual(t, p.Bytes(), sizeOf(p.model.live("", p.now)))
	require.LessOrEqual(t, p.Bytes(), sizeOf(p.model.held))
	k := key{p.namespace(), p.peer()}
	_, held := p.model.held[k]
	require.Equal(t, held, p.Has(k.namespace, k.peer), "%q", k)
	for i := range 3 {
		envelope := envelopeOf(k.peer, i)
		require.Equal(t, p.model.last[k.peer] == envelope, p.HasEnvelope(k.peer, []byte(envelope)), "%q", k.peer)
	}
}

func TestModel(t *testing.T) {
	behind := 0
	for range 10 {
		steps := make([]byte, 4000)
		for i := range steps {
			steps[i] = byte(rand.Uint32())
		}
		behind += playSteps(t, steps, 20).behind
	}
	require.Positive(t, behind, "no Admit was ever behind")
}

// FuzzModel takes its steps from the fuzzer.
func FuzzModel(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x00\x10\x20\x00\x00\x01\x28\x09"))
	f.Add([]byte("\x3f\x05\x0a\x00\x27\x28\x0a\x24\x00\x10\x38\x3f\x05\x0b\x00\x27"))
	f.Add([]byte("\x3e\x01\x28\x08\x3b\x00\x05\x00\x00\x30\x00\x14\x05\x08\x00\x20"))
	f.Add([]byte("\x3b\x00\x05\x67\x00\x00\x00\x02\x00\x20\x00\x01\x02\x00\x21\x28\x02\x00\x02\x02\x00\x20"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		playSteps(t, steps[:min(len(steps), 400)], 4)
	})
}
