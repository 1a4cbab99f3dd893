package registry

import (
	"net/netip"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// checkInvariants checks that all parts of the registry agree with each other.
func checkInvariants(t *testing.T, x *Registry, now int64) {
	t.Helper()
	registrations := make(map[*registration]bool)
	members := make(map[*namespace]int)
	registrants := entriesOf(t, &x.registrants)
	namespaces := entriesOf(t, &x.namespaces)

	for id, p := range registrants {
		require.Equal(t, id, p.id)
		require.False(t, p.empty(), "%q has no registrations", id)
		for _, r := range p.all() {
			require.Same(t, p, r.registrant)
			require.Same(t, namespaces[r.namespace.name], r.namespace)
			registrations[r] = true
			members[r.namespace]++
		}
		require.False(t, p.more != nil && len(*p.more) == 0, "an empty list holds on to memory")
		others := p.others()
		for i := 1; i < len(others); i++ {
			require.Less(t, others[i-1].namespace.name, others[i].namespace.name, "registrations of %q are out of order", id)
		}
		for _, r := range others[len(others):cap(others)] {
			require.Nil(t, r, "an unused place holds on to memory")
		}
		checkRoom(t, others)
	}
	require.Len(t, registrations, x.Len())

	require.Len(t, namespaces, x.Namespaces())
	sampled := make(map[*registration]bool)
	for r := range registrations {
		if r.place == nil || r.place.track.key.kind == usual {
			sampled[r] = true
		}
	}
	checkPool(t, &x.all, sampled, now)
	for name, ns := range namespaces {
		require.Equal(t, name, ns.name)
		require.Positive(t, ns.members)
		require.Equal(t, members[ns], ns.members, "members of %q", name)
		in := make(map[*registration]bool)
		for r := range sampled {
			if r.namespace == ns {
				in[r] = true
			}
		}
		checkPool(t, &ns.pool, in, now)
	}
	for r := range registrations {
		require.Equal(t, x.all.deadlineOf(r) > now, r.namespace.pool.deadlineOf(r) > now, "a registration is fresh in one pool only")
	}
	checkOrder(t, x.order, registrations, now)
	checkWheel(t, &x.wheel, registrations, now)
	checkSums(t, x, registrations)
}

// checkSums checks what the registry counts so that it need not look for it.
func checkSums(t *testing.T, x *Registry, registrations map[*registration]bool) {
	t.Helper()
	names := 0
	narrow, net56, net48 := make(map[Origin]int32), make(map[Origin]int32), make(map[Origin]int32)
	for r := range registrations {
		names += len(r.namespace.name) + len(r.registrant.id)
		if r.origin == 0 {
			continue
		}
		narrow[r.origin]++
		if r.origin.Addr().Is6() {
			net56[r.origin>>8<<8]++
			net48[r.origin>>16<<16]++
		}
	}
	require.EqualValues(t, names, x.names)
	require.Equal(t, narrow, entriesOf(t, &x.origins.narrow))
	require.Equal(t, net56, entriesOf(t, &x.origins.net56))
	require.Equal(t, net48, entriesOf(t, &x.origins.net48))
}

// checkOrder checks that each registration has its place, in the track of its namespace and in
// that of all, and that what is counted is right.
func checkOrder(t *testing.T, o *order, registrations map[*registration]bool, now int64) {
	t.Helper()
	if o == nil {
		for r := range registrations {
			require.Nil(t, r.place)
		}
		return
	}
	var size int64
	var lasting usage
	inTracks := make(map[trackKey]int)
	for r := range registrations {
		p := r.place
		if p == nil {
			require.LessOrEqual(t, r.deadline, now, "a live registration has no place")
			continue
		}
		require.Equal(t, r.registrant.id, p.peer)
		require.Equal(t, r.deadline, p.deadline)
		require.Equal(t, r.namespace, p.track.key.namespace)
		require.Less(t, p.sequence, o.next)
		require.Positive(t, p.sequence)
		for _, tr := range []*track{p.track, o.all[p.track.key.kind]} {
			got, _ := tr.places.Get(p.sequence)
			require.Same(t, p, got)
			inTracks[tr.key]++
		}
		size += int64(len(p.envelope))
		if p.lasting {
			lasting.count++
			lasting.bytes += int64(len(r.namespace.name) + len(r.registrant.id) + len(p.envelope))
		}
	}
	require.Equal(t, size, o.size)
	require.Equal(t, lasting, o.lasting)
	tracks := entriesOf(t, &o.tracks)
	for kind, tr := range o.all {
		require.Equal(t, trackKey{nil, kind}, tr.key)
		tracks[tr.key] = tr
	}
	for key, tr := range tracks {
		require.Equal(t, key, tr.key)
		require.Equal(t, inTracks[key], tr.places.Len())
		require.True(t, key.namespace == nil || tr.places.Len() > 0, "an empty track holds on to memory")
	}
}

// checkPool checks that the pool has one slot for each registration, unless it is not fresh.
func checkPool(t *testing.T, p *pool, registrations map[*registration]bool, now int64) {
	t.Helper()
	size := 0
	for i, s := range p.slots {
		size += len(s.envelope)
		require.True(t, registrations[s.registration], "a slot has a registration that does not belong there")
		require.Equal(t, i, int(s.registration.positions[p.kind]))
		if pl := s.registration.place; pl == nil || !pl.lasting {
			require.Equal(t, s.registration.deadline, s.deadline)
		} else {
			require.LessOrEqual(t, s.deadline, s.registration.deadline)
			require.Equal(t, pl.envelope, s.envelope)
		}
	}
	require.EqualValues(t, size, p.size)
	held := 0
	for r := range registrations {
		if p.holds(r) {
			held++
		} else if r.place == nil || !r.place.lasting {
			require.LessOrEqual(t, r.deadline, now, "a live registration was dropped")
		}
	}
	require.Len(t, p.slots, held)
	checkRoom(t, p.slots)
	for _, s := range p.slots[len(p.slots):cap(p.slots)] {
		require.Zero(t, s, "an unused slot holds on to memory")
	}
}

// checkRoom checks that a slice gives memory back as it empties.
func checkRoom[T any](t *testing.T, s []T) {
	t.Helper()
	require.LessOrEqual(t, cap(s), max(8, 4*len(s)+3))
}

// checkWheel checks that each registration is in one bucket, whose tick is not after that of its
// deadline, unless it is over. A sorted bucket is in order, but for what was refreshed and
// will move on.
func checkWheel(t *testing.T, w *wheel, registrations map[*registration]bool, now int64) {
	t.Helper()
	found, current := 0, max(w.tick, now>>tickBits)
	for tick := w.tick; tick < w.tick+wheelTicks; tick++ {
		b := &w.buckets[tick%wheelTicks]
		if b.empty() {
			continue
		}
		before, latest := &b.head, int64(0)
		for r := b.head.next; r != &b.head; before, r = r, r.next {
			require.Same(t, before, r.prev)
			require.True(t, registrations[r], "the wheel has a registration that was evicted")
			require.LessOrEqual(t, tick, max(r.deadline>>tickBits, current), "a registration is polled too late")
			if tick == w.sorted && r.deadline>>tickBits <= tick {
				require.LessOrEqual(t, latest, r.deadline, "a sorted bucket is out of order")
				latest = r.deadline
			}
			found++
		}
		require.Same(t, before, b.head.prev)
	}
	require.Len(t, registrations, found)
}

// entriesOf returns what is in a table.
func entriesOf[K comparable, V any](t *testing.T, tab *table[K, V]) map[K]V {
	t.Helper()
	entries := make(map[K]V)
	for i := range tab.shards {
		s := &tab.shards[i]
		require.LessOrEqual(t, len(s.entries), s.peak)
		require.LessOrEqual(t, s.peak, max(64, 8*len(s.entries)))
		require.Equal(t, len(s.entries) == 0, s.entries == nil)
		for k, v := range s.entries {
			require.Same(t, s, tab.shard(k))
			entries[k] = v
		}
	}
	require.Len(t, entries, tab.len())
	return entries
}

// fixture is a registry with a clock.
type fixture struct {
	*Registry
	now     int64
	expired []key // what the registry said is evicted
}

type key struct {
	namespace string
	peer      peer.ID
}

func newFixture() *fixture {
	f := &fixture{now: 1}
	f.Registry = New(func(namespace string, p peer.ID) { f.expired = append(f.expired, key{namespace, p}) })
	return f
}

// register registers, from nowhere, what ends after ttl.
func (f *fixture) register(namespace string, p peer.ID, envelope string, ttl int64, q Quota) error {
	return f.put(&Entry{Namespace: namespace, Peer: p, Envelope: []byte(envelope), Deadline: f.now + ttl}, q)
}

// registerFrom registers, from an address, what ends after ttl.
func (f *fixture) registerFrom(addr, namespace string, p peer.ID, ttl int64, q Quota) error {
	return f.put(&Entry{Namespace: namespace, Peer: p, Deadline: f.now + ttl, Origin: OriginOf(netip.MustParseAddr(addr))}, q)
}

// registerPeers registers numbered peers.
func (f *fixture) registerPeers(t *testing.T, namespace string, from, to int, ttl int64) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, f.register(namespace, numberedPeer(i), "", ttl, unlimited))
	}
}

// put puts an entry if Admit admits it.
func (f *fixture) put(e *Entry, q Quota) error {
	a, err := f.Admit(e, q, f.now)
	if err == nil {
		f.Put(a, e)
	}
	return err
}

// origin returns where a registration counts.
func (f *fixture) origin(namespace string, p peer.ID) string {
	return f.registrants.get(p).find(namespace).origin.Addr().String()
}

// evict evicts until there is nothing more to look at.
func (f *fixture) evict() {
	for f.Evict(f.now, 100) {
	}
}
