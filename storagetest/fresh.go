package storagetest

// Checks of freshness, and of the limits of what lasts longer.

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// sampledAs returns r as a sample has it.
func sampledAs(r rendezvous.Record) rendezvous.Record {
	if !r.Fresh.IsZero() {
		r.Deadline = r.Fresh
	}
	return r
}

// shortlyFresh returns a record that is fresh until short, and live for much longer.
func (s *suite) shortlyFresh(ns string, p peer.ID) rendezvous.Record {
	r := s.record(ns, p, s.after(s.short()+10*s.ttl()))
	r.Fresh = s.after(s.short())
	return r
}

func checkFreshness(s *suite) {
	fresh := s.record("ns", testPeer(1), s.after(10*s.ttl()))
	lasting := s.shortlyFresh("ns", testPeer(2))
	stale := s.record("ns", testPeer(3), s.after(10*s.ttl()))
	stale.Fresh = time.Now().Add(-time.Second)
	beyond := s.record("ns", testPeer(4), s.after(10*s.ttl()))
	beyond.Fresh = beyond.Deadline.Add(time.Hour) // no longer than it is live
	all := []rendezvous.Record{fresh, lasting, stale, beyond}
	s.beginOrder()
	for _, r := range all {
		s.add(r, unlimited)
	}
	beyond.Fresh = beyond.Deadline
	s.expectCounts(4, 1)
	s.sleepUntil(lasting.Fresh.Add(-s.margin()))
	s.expectRecords("ns", fresh, sampledAs(lasting), beyond)
	s.sleepUntil(lasting.Fresh)
	for range 2 {
		s.expectRecords("ns", fresh, beyond)
		s.expectRecords("", fresh, beyond)
		s.expectPages("ns", usual, "", all...)
		s.expectCounts(4, 1)
		s.sleepUntilRemoved()
	}
	lasting = s.shortlyFresh("ns", testPeer(2))
	s.add(lasting, unlimited)
	s.expectRecords("ns", fresh, beyond, sampledAs(lasting))
	stale.Fresh = time.Time{}
	s.add(stale, unlimited)
	s.expectRecords("", fresh, beyond, sampledAs(lasting), stale)
	fresh.Fresh = time.Now().Add(-time.Second)
	s.add(fresh, unlimited)
	s.expectRecords("", beyond, sampledAs(lasting), stale)
}

// checkUniformFresh samples a namespace most of whose records are no longer fresh.
func checkUniformFresh(s *suite) {
	end := s.after(s.short())
	for i := range 60 {
		r := s.record("ns", testPeer(i), s.after(10*s.ttl()))
		if i%6 > 0 {
			r.Fresh = end
		}
		s.add(r, unlimited)
	}
	s.sleepUntil(end)
	s.expectUniformSample("3 of 10 that are fresh of 60", "ns", 3, 10)
}

// renew calls Renew.
func (s *suite) renew(fresh time.Time, peers ...peer.ID) {
	s.Helper()
	if err := s.pager().Renew(s.Context(), peers, fresh); err != nil {
		s.Fatalf("Renew(%d peers, for %v): %v", len(peers), time.Until(fresh), err)
	}
}

func checkRenew(s *suite) {
	s.beginOrder()
	end := s.after(s.short())
	var all []rendezvous.Record
	for i := range 6 {
		r := s.shortlyFresh(fmt.Sprint("ns", i%2), testPeer(i/2))
		r.Fresh = end
		s.add(r, unlimited)
		all = append(all, r)
	}
	other := s.record("ns0", testPeer(9), s.after(10*s.ttl()))
	other.Kind, other.Fresh = unusual, end
	s.add(other, unlimited)
	soon := s.record("ns0", testPeer(3), s.after(s.short()+s.shorter()))
	soon.Fresh = end
	s.add(soon, unlimited)
	_, cursor := s.walk("", usual, "", 100)

	renewed := end.Add(5 * s.ttl())
	s.renew(renewed.Add(-time.Second), testPeer(0)) // while it is fresh
	s.renew(renewed, testPeer(0))
	s.renew(end.Add(-s.shorter()), testPeer(0), testPeer(1)) // shortens nothing
	s.renew(end.Add(24*time.Hour), testPeer(3), testPeer(9), testPeer(77))
	all[0].Fresh, all[1].Fresh, soon.Fresh = renewed, renewed, soon.Deadline
	expect := func(records ...rendezvous.Record) {
		s.Helper()
		for i := range records {
			records[i] = sampledAs(records[i])
		}
		s.expectRecords("", records...)
		s.expectPages("", usual, cursor) // the order is as before
	}
	expect(all[0], all[1], all[2], all[3], all[4], all[5], soon)
	s.sleepUntil(end)
	expect(all[0], all[1], soon)
	again := s.after(s.short())
	s.renew(again, testPeer(1), testPeer(2)) // no longer fresh
	for i := 2; i < 6; i++ {
		all[i].Fresh = again
	}
	expect(all[0], all[1], all[2], all[3], all[4], all[5], soon)
	s.sleepUntil(soon.Deadline)
	expect(all...)
	s.sleepUntil(again)
	expect(all[0], all[1])
	s.renew(s.after(s.ttl()), testPeer(1), testPeer(2))
	s.expectUniformSample("3 of 6, four of them renewed", "", 3, 6)
}

// checkLastingTotal checks that lasting records may take half of the total.
func checkLastingTotal(s *suite) {
	q := rendezvous.Quota{Total: 7}
	for i := range 3 {
		s.add(s.lasting("ns", testPeer(i)), q)
	}
	s.expectRefused(s.lasting("ns", testPeer(3)), q, rendezvous.ErrFull)
	s.add(s.lasting("ns", testPeer(0)), q) // refreshes
	s.add(s.lasting("ns", testPeer(1)), rendezvous.Quota{Total: 1})
	plain := s.record("ns", testPeer(3), s.after(s.ttl()))
	s.add(plain, q)
	lasting := s.lasting("ns", testPeer(3))
	lasting.Envelope = []byte("refused")
	s.expectRefused(lasting, q, rendezvous.ErrFull) // would be a new one of these
	s.expectRecord(plain)
	s.add(s.record("ns", testPeer(0), s.after(s.ttl())), q) // makes room for one
	s.add(lasting, q)
	s.expectRefused(s.lasting("ns", testPeer(0)), q, rendezvous.ErrFull)
	for i := 4; i < 7; i++ {
		s.add(s.record("ns", testPeer(i), s.after(s.ttl())), q)
	}
	s.expectRefused(s.record("ns", testPeer(7), s.after(s.ttl())), q, rendezvous.ErrFull)
	s.remove("ns", testPeer(1))
	s.add(s.lasting("ns", testPeer(8)), q)
	s.expectCounts(7, 1)
	s.remove("", testPeer(8))
	s.remove("", testPeer(2))
	s.remove("", testPeer(3))
	s.add(s.lasting("ns", testPeer(9)), rendezvous.Quota{Total: 100, Bytes: 100_000})
}

// expectRecord checks that a record is among those of its namespace.
func (s *suite) expectRecord(want rendezvous.Record) {
	s.Helper()
	for _, r := range s.sample(want.Namespace, allRecords) {
		if s.equal(r, want) {
			return
		}
	}
	s.Errorf("%v is not in %q", format([]rendezvous.Record{want}), want.Namespace)
}

// checkLastingOne checks that a storage for one record may hold a lasting one.
func checkLastingOne(s *suite) {
	s.add(s.lasting("ns", testPeer(1)), rendezvous.Quota{Total: 1})
	s.remove("ns", testPeer(1))
	s.add(s.lasting("ns", testPeer(1)), rendezvous.Quota{})
	s.add(s.lasting("ns", testPeer(2)), rendezvous.Quota{PerPeer: 1, PerOrigin: 1})
}

// checkLastingBytes checks that lasting records may take half of the bytes.
func checkLastingBytes(s *suite) {
	lasting := s.lasting("ns", testPeer(1))
	size := int64(len(lasting.Namespace) + len(lasting.Peer) + len(lasting.Envelope))
	other := s.lasting("n2", testPeer(2))
	other.Envelope = make([]byte, len(lasting.Envelope))
	s.expectRefused(lasting, rendezvous.Quota{Bytes: 2*size - 1}, rendezvous.ErrFull)
	s.add(lasting, rendezvous.Quota{Bytes: 2 * size})
	s.expectRefused(other, rendezvous.Quota{Bytes: 4*size - 1}, rendezvous.ErrFull)
	lasting.Envelope = make([]byte, 1000) // a refresh may grow
	s.add(lasting, rendezvous.Quota{Bytes: 2 * size})
	s.expectRefused(other, rendezvous.Quota{Bytes: 4 * size}, rendezvous.ErrFull)
	lasting.Envelope = make([]byte, len(other.Envelope))
	s.add(lasting, rendezvous.Quota{Bytes: 2 * size})
	s.add(other, rendezvous.Quota{Bytes: 4 * size})
	plain := s.record("n3", testPeer(3), s.after(s.ttl()))
	plain.Envelope = make([]byte, len(other.Envelope))
	s.add(plain, rendezvous.Quota{Bytes: 4 * size})
	plain.Fresh = s.after(s.shorter())
	s.expectRefused(plain, rendezvous.Quota{Bytes: 4 * size}, rendezvous.ErrFull)
}

// checkStaleCounts checks that what is no longer fresh counts until it ends, and that
// what is renewed is still lasting.
func checkStaleCounts(s *suite) {
	q := rendezvous.Quota{Total: 4}
	var all []rendezvous.Record
	for i := range 2 {
		r := s.record("ns", testPeer(i), s.after(s.short()+s.shorter()))
		r.Fresh = s.after(s.short())
		s.add(r, q)
		all = append(all, r)
	}
	s.renew(all[0].Deadline, testPeer(0))
	s.expectRefused(s.lasting("ns", testPeer(5)), q, rendezvous.ErrFull)
	s.sleepUntil(all[0].Fresh)
	s.sample("ns", allRecords)
	s.expectRefused(s.lasting("ns", testPeer(5)), q, rendezvous.ErrFull)
	s.expectRefused(s.record("ns", testPeer(5), s.after(s.ttl())), rendezvous.Quota{Total: 2}, rendezvous.ErrFull)
	size := int64(0)
	for _, r := range all {
		size += int64(len(r.Namespace) + len(r.Peer) + len(r.Envelope))
	}
	s.expectRefused(s.record("ns", testPeer(5), s.after(s.ttl())), rendezvous.Quota{Bytes: size + 1}, rendezvous.ErrFull)
	s.sleepUntil(all[1].Deadline)
	for i := range 2 { // an expired record counts no more
		s.add(s.lasting("ns", testPeer(5+i)), q)
	}
	s.expectRefused(s.lasting("ns", testPeer(7)), q, rendezvous.ErrFull)
}

// checkFreshnessSurvives opens the storage again while a peer is away.
func checkFreshnessSurvives(s *suite) {
	s.beginOrder()
	q := rendezvous.Quota{Total: 4}
	away, here := s.shortlyFresh("ns", testPeer(1)), s.shortlyFresh("ns", testPeer(2))
	here.Fresh = s.after(s.short() + 5*s.ttl())
	s.add(away, q)
	s.add(here, q)
	s.Storage = s.reopen(s.t, s.Storage)
	s.expectRecords("ns", sampledAs(away), sampledAs(here))
	s.expectRefused(s.lasting("ns", testPeer(3)), q, rendezvous.ErrFull)
	s.sleepUntil(away.Fresh)
	s.expectRecords("ns", sampledAs(here))
	s.Storage = s.reopen(s.t, s.Storage)
	s.expectRecords("ns", sampledAs(here))
	s.expectPages("ns", usual, "", away, here)
	s.expectRefused(s.lasting("ns", testPeer(3)), q, rendezvous.ErrFull)
	s.add(s.lasting("ns", testPeer(1)), q)
}
