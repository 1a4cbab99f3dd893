package storagetest

// Checks of samples.

import (
	"fmt"
	"math"

	"github.com/libp2p/go-libp2p/core/peer"
)

func checkSampleSize(s *suite) {
	const live = 20
	s.addPeers("ns", 0, live)
	for _, ns := range []string{"ns", ""} {
		for _, n := range []int{math.MinInt, -1, 0, 1, 2, live - 1, live, live + 1, 1000, math.MaxInt32, math.MaxInt} {
			if got, want := len(s.sample(ns, n)), min(max(n, 0), live); got != want {
				s.Errorf("Sample(%q, %d) returned %d of %d records, want %d", ns, n, got, live, want)
			}
		}
	}
}

// checkNoneExpired draws where almost all records have expired and may not be removed yet.
func checkNoneExpired(s *suite) {
	const expired = 2000
	deadline := s.after(s.short())
	for i := range expired {
		s.add(s.record("ns", testPeer(i), deadline), unlimited)
	}
	live := s.record("ns", testPeer(expired), s.after(s.short()+s.ttl()))
	s.add(live, unlimited)
	s.sleepUntil(deadline)
	for range 3 {
		for _, n := range []int{1, 10, allRecords} {
			if got := s.sample("ns", n); len(got) != 1 {
				s.Errorf("Sample(%d) with 1 live and %d expired records returned %d", n, expired, len(got))
			}
		}
	}
	s.expectRecords("", live)
	s.expectRecords("ns", live)
}

func checkUniform(s *suite) {
	s.addPeers("ns", 0, 50)
	s.expectUniformSample("one of 50", "ns", 1, 50)
	s.expectUniformSample("5 of 50", "ns", 5, 50)
	s.expectUniformSample("45 of 50", "ns", 45, 50)
}

// checkUniformPairs finds records that come together too often or too rarely.
func checkUniformPairs(s *suite) {
	s.addPeers("ns", 0, 8)
	counts := make(map[[2]peer.ID]int)
	for range s.draws() {
		got := s.sample("ns", 2)
		if len(got) != 2 {
			s.Fatalf("Sample(2) of 8 returned %d", len(got))
		}
		counts[[2]peer.ID{min(got[0].Peer, got[1].Peer), max(got[0].Peer, got[1].Peer)}]++
	}
	expectUniform(s, "pairs of 8", counts, 8*7/2, 1)
}

// checkUniformFirst finds samples with an order. The first records of a sample must be a sample
// too.
func checkUniformFirst(s *suite) {
	s.addPeers("ns", 0, 10)
	for _, n := range []int{3, 10} {
		counts := make(map[peer.ID]int)
		for range s.draws() {
			if got := s.sample("ns", n); len(got) > 0 {
				counts[got[0].Peer]++
			}
		}
		expectUniform(s, fmt.Sprintf("first of %d of 10", n), counts, 10, 1)
	}
}

// checkUniformAfterChurn draws after a third of the peers has expired, a third has refreshed
// once and a third twice.
func checkUniformAfterChurn(s *suite) {
	const peers = 60
	deadline := s.after(s.shorter())
	for i := range peers {
		s.add(s.record("ns", testPeer(i), deadline), unlimited)
	}
	for i := range peers {
		if i%3 != 0 {
			s.add(s.record("ns", testPeer(i), s.after(2*s.ttl())), unlimited)
		}
		if i%3 == 1 {
			s.add(s.record("ns", testPeer(i), s.after(2*s.ttl())), unlimited)
		}
	}
	s.sample("ns", 5)
	s.sleepUntil(deadline)
	s.expectUniformSample("5 of 40 just after others have expired", "ns", 5, peers*2/3)
	s.sleepUntilRemoved()
	s.expectUniformSample("5 of 40 a while after others have expired", "ns", 5, peers*2/3)
}

// checkUniformAll finds storages that draw a namespace first and then a record in it.
func checkUniformAll(s *suite) {
	s.addPeers("large", 0, 20)
	s.addPeers("small", 0, 4)
	for i := range 16 {
		s.addPeers(fmt.Sprintf("only %d", i), i, i+1)
	}
	s.expectUniformSample("5 of 40 in 18 namespaces", "", 5, 40)
}

// checkSampleBytes draws with a bound for the bytes of records of equal size, and of others.
func checkSampleBytes(s *suite) {
	size := 0
	for i := range 20 {
		r := s.record("ns", testPeer(i), s.after(s.ttl()))
		r.Envelope = make([]byte, 100)
		size = len(r.Namespace) + len(r.Envelope)
		s.add(r, unlimited)
	}
	for _, ns := range []string{"ns", ""} {
		for maxBytes, want := range map[int]int{1: 0, size - 1: 0, size: 1, 5*size - 1: 4, 5 * size: 5, 20 * size: 20, 21 * size: 20, 0: 20} {
			got, err := s.Sample(s.Context(), ns, allRecords, maxBytes)
			if err != nil || len(got) != want {
				s.Errorf("Sample(%q) with %d bytes returned %d records, %v, want %d of %d bytes", ns, maxBytes, len(got), err, want, size)
			}
		}
	}
	counts := make(map[peer.ID]int)
	for range s.draws() {
		got, err := s.Sample(s.Context(), "ns", 15, 5*size)
		if err != nil || len(got) != 5 {
			s.Fatalf("Sample with %d bytes returned %d records, %v, want 5", 5*size, len(got), err)
		}
		for _, r := range got {
			counts[r.Peer]++
		}
	}
	expectUniform(s, "5 of 20, bounded by bytes", counts, 20, 5)
}
